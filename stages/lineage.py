"""What a candidate came from: the data, stage by stage with what was turned away, and the models. Used by the gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thumbwheel.lake import Pin

DATA_STAGES = ("ingest", "pairs", "dedup", "scrub", "grade", "split")
MODEL_STAGES = ("sft", "dpo", "kto", "quantize")
HIDDEN = ("quarantine", "dropped", "findings", "history")
"""Tables that hold what was turned away or found, counted elsewhere."""
SHOWN = 12
FIRST = (
    *("epsilon", "delta", "stopped", "note", "steps", "conversations", "pairs_seen", "liked", "disliked"),
    *("validation_loss_before", "validation_loss_after", "helpful_accuracy", "helpful_pairs", "safe_accuracy"),
    *("safe_pairs", "kl", "chosen_gain", "format", "bytes_before", "bytes_after", "perplexity_before"),
)
"""What is shown of a report before all else, in this order: what was spent, how much was seen, what it changed."""


def data_steps(pins: Mapping[str, Pin]) -> list[dict[str, Any]]:
    """Return, for each stage of the data, its tables with version and fingerprint, and rows turned away by reason."""
    return [
        {
            "stage": stage,
            "tables": [
                {"name": name, "rows": table.rows, "version": table.version, "fingerprint": table.fingerprint[:12]}
                for name, table in pins[stage].tables.items()
                if not any(word in name for word in HIDDEN)
            ],
            "rejections": sorted((reason, count) for reason, count in pins[stage].rejections.items() if count),
        }
        for stage in DATA_STAGES
    ]


def model_steps(reports: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return, for each stage of the model, the first facts of its report that are a number or a word."""
    return [{"stage": stage, "facts": _first_facts(reports[stage])} for stage in MODEL_STAGES]


def _first_facts(report: Mapping[str, Any]) -> list[tuple[str, Any]]:
    order = sorted(report, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
    return [(name, report[name]) for name in order if _is_plain(report[name])][:SHOWN]


def _is_plain(value: Any) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)
