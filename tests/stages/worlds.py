"""A small world for the training stages: a tiny base model, a pinned split and small parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from tests.fakes import tiny_model
from thumbwheel.lake import Pin, write_pin, write_table
from thumbwheel.records import CONVERSATION, PREFERENCE, THUMB, conversation_id, preference_id, to_table

LORA = {"r": 4, "alpha": 8, "dropout": 0.0, "targets": "all-linear"}
OPTIMISER = {
    "epochs": 1.0,
    "steps": 6,
    "learning_rate": 0.01,
    "schedule": "linear",
    "warmup": 0.0,
    "weight_decay": 0.0,
    "batch": 2,
    "accumulation": 1,
    "save_steps": 1,
    "log_steps": 1,
}
PARAMS: dict[str, dict[str, Any]] = {
    "sft": {
        "seed": 1,
        "method": "lora",
        "dtype": "float32",
        "max_length": 128,
        "max_validation": 2,
        "demonstrations": [],
        "packing": False,
        "lora": LORA,
        "optimiser": OPTIMISER,
        "sentinel": None,
        "distil": None,
        "privacy": None,
        "launch": None,
    },
    "dpo": {
        "seed": 1,
        "method": "lora",
        "dtype": "float32",
        "max_length": 128,
        "max_validation": 2,
        "loss": "sigmoid",
        "label_smoothing": 0.0,
        "beta": 0.1,
        "sft_weight": 0.0,
        "objectives": {"helpful": 1.0, "safe": 1.0},
        "trade_off": [],
        "lora": LORA,
        "optimiser": OPTIMISER,
        "sentinel": None,
        "launch": None,
    },
    "kto": {
        "seed": 1,
        "method": "lora",
        "dtype": "float32",
        "max_length": 128,
        "min_examples": 4,
        "loss": "kto",
        "beta": 0.1,
        "lora": LORA,
        "optimiser": OPTIMISER,
        "sentinel": None,
        "launch": None,
    },
    "quantize": {"format": "w8a8", "group_size": 16, "calibration_rows": 0, "perplexity_rows": 2, "max_length": 128},
}


def make_world(root: Path, pairs: int = 16, thumbs: int = 0) -> Path:
    """Write base model, split pin and params.yaml under `root`, and return it."""
    tiny_model(root / "models" / "base")
    write_params(root)
    tables = {
        "conversations": write_table("split_conversations", conversations()),
        "preferences": write_table("split_preferences", preferences(pairs)),
        "unpaired": write_table("split_unpaired", liked_and_not(thumbs)),
    }
    write_pin(Pin(stage="split", tables=tables))
    return root


def give_identity_sft(root: Path) -> None:
    """Put an adapter that changes nothing where SFT would have left its own."""
    give_identity(root, "sft")


def give_identity(root: Path, stage: str) -> None:
    """Put an adapter that changes nothing where a stage would have left its own."""
    from stages import adapters, training

    params = adapters.LoraParams(r=4, alpha=8, dropout=0.0, targets="all-linear")
    adapters.save_identity(training.load_model(root / "models" / "base", "float32"), params, 1, root / "models" / stage)


def liked_and_not(size: int) -> pa.Table:
    """Return `size` thumbs of the training side, every second one up."""
    rows = [
        {
            "id": f"e{i}",
            "prompt": [{"role": "user", "content": f"Is {i} even?"}],
            "reply": "yes yes" if i % 2 else "no",
            "liked": bool(i % 2),
        }
        for i in range(size)
    ]
    return to_table(rows, THUMB).append_column("split", pa.array(["train"] * size, pa.string()))


def write_params(root: Path, **sections: dict[str, Any]) -> None:
    """Write params.yaml with `sections` laid over the small defaults."""
    merged = {name: section | sections.get(name, {}) for name, section in PARAMS.items()}
    (root / "params.yaml").write_text(yaml.safe_dump(merged))


def report(root: Path, stage: str) -> dict[str, Any]:
    """Return what a stage reported."""
    return dict(json.loads((root / "data" / "reports" / f"{stage}.json").read_text()))


def conversations() -> pa.Table:
    """Return 20 conversations: 16 to train on, 2 to validate, 2 to test."""
    rows = []
    for i in range(20):
        messages = [
            {"role": "user", "content": f"How old is plant {i}?"},
            {"role": "assistant", "content": f"It is {i} weeks old."},
        ]
        rows.append({"id": conversation_id(messages), "messages": messages, "consent": True})
    table = to_table(rows, CONVERSATION)
    return table.append_column("split", pa.array(["train"] * 16 + ["validation"] * 2 + ["test"] * 2))


def preferences(size: int) -> pa.Table:
    """Return `size` pairs, of which the last two validate, every fourth `safe`."""
    rows = []
    for i in range(size):
        prompt = [{"role": "user", "content": f"Is {i} even?"}]
        rows.append(
            {
                "id": preference_id(prompt, "yes yes", "no"),
                "prompt": prompt,
                "chosen": "yes yes" * (1 + i % 3),
                "rejected": "no",
                "objective": "safe" if i % 4 == 0 else "helpful",
                "weight": 1.0,
            }
        )
    splits = ["train"] * max(size - 2, 0) + ["validation"] * min(size, 2)
    return to_table(rows, PREFERENCE).append_column("split", pa.array(splits, pa.string()))
