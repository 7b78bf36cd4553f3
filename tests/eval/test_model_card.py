"""The model card: what it says of a candidate, and what it owns not to know."""

from __future__ import annotations

from typing import Any

import pytest

from eval.dossier import Contents
from eval.model_card import render
from tests.eval.test_dossier import gate, line

TABLE = {"name": "conversations", "rows": 302, "version": 4, "fingerprint": "ab12"}


def card(*lines: dict[str, Any], **sft: float) -> str:
    models = [
        {"stage": "sft", "facts": [("steps", 38), ("validation_loss_before", 4.02), ("validation_loss_after", 3.34)]},
        {"stage": "kto", "facts": [("steps", 0)]},
        {"stage": "quantize", "facts": [("format", "w8a8"), ("bytes_after", 163_000_000)]},
    ]
    models[0]["facts"] += sft.items()  # type: ignore[operator]
    data = [{"stage": "ingest", "tables": [TABLE | {"name": "raw"}]}, {"stage": "split", "tables": [TABLE]}]
    return render(gate(*lines), Contents(models=models, data=data), "some/base")


def test_the_card_names_base_format_training_data_and_outcome() -> None:
    text = card()
    assert text.startswith("# Model card of bundle abababababab\n")
    assert "`some/base`" in text
    assert "- weights: w8a8, 163 MB" in text
    assert "| supervised fine-tuning | 38 | 4.02 → 3.34 |" in text
    assert "| single thumbs (KTO) | 0 | – → – |" in text
    assert "| conversations | 302 | 4 | ab12 |" in text
    assert "| raw |" not in text
    assert "**pass**" in text


@pytest.mark.parametrize(
    ("spent", "words"),
    [
        ({"epsilon": 7.996, "delta": 1e-5}, "epsilon 8 at delta 1e-05, of one\nconversation, not of one user"),
        ({}, "without differential privacy"),
    ],
)
def test_the_privacy_that_was_spent_is_said_and_so_is_none(spent: dict[str, float], words: str) -> None:
    assert words in card(**spent)


def test_what_was_not_shown_is_said_required_or_not() -> None:
    open_ = line(title="Refusals", outcome="inconclusive", reason="the interval reaches over the limit", required=True)
    silent = line(title="Grades", outcome="abstain", reason="the judge is not heard", required=False, low=None)
    text = card(line(), open_, silent)
    unknown = text[text.index("## What is not known") :]
    assert "- Refusals: the interval reaches over the limit." in unknown
    assert "- Grades (not required): the judge is not heard." in unknown
    assert "Held-out" not in unknown
