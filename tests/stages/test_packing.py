"""Packed conversations fill rows, lose nothing, and never see each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages import sft
from stages.packing import pack
from tests.stages.worlds import OPTIMISER, make_world, report, write_params
from thumbwheel.errors import ParamsError
from thumbwheel.params import load_params
from thumbwheel.settings import settings


def example(length: int, first: int) -> dict[str, list[int]]:
    ids = list(range(first, first + length))
    return {"input_ids": ids, "labels": ids}


@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=20))
def test_every_conversation_is_whole_in_one_row_and_no_row_is_too_long(lengths: list[int]) -> None:
    starts = [20 * i for i in range(len(lengths))]
    rows = pack([example(length, start) for length, start in zip(lengths, starts, strict=True)], 12)
    assert all(len(row["input_ids"]) == sum(row["seq_lengths"]) <= 12 for row in rows)
    found = []
    for row in rows:
        at = 0
        for length in row["seq_lengths"]:
            found.append((row["input_ids"][at], length))
            at += length
    assert sorted(found) == sorted(zip(starts, lengths, strict=True))


def batch_loss(workspace: Path, packing: bool, count: int) -> tuple[float, Any]:
    """Return the loss of the untrained model on the first `count` conversations in one batch, and the batch."""
    write_params(workspace, sft={"packing": packing, "optimiser": OPTIMISER | {"batch": count, "steps": 1}})
    params = load_params("sft", sft.SftParams)
    rows = [row for row in sft.read_rows(params) if row["split"] == "train"][:count]
    trainer, _ = sft.make_trainer(rows, settings().models / "base", workspace / "checkpoints", params, None)
    batch = next(iter(trainer.get_train_dataloader()))
    with torch.inference_mode():
        return float(trainer.compute_loss(trainer.model.eval(), dict(batch))), batch


@pytest.mark.slow
def test_a_packed_row_costs_each_conversation_what_it_costs_alone(workspace: Path) -> None:
    make_world(workspace)
    alone, padded = batch_loss(workspace, False, 4)
    together, packed = batch_loss(workspace, True, 4)
    assert padded["input_ids"].shape[0] == 4
    assert packed["input_ids"].shape[0] == 1
    assert int((packed["position_ids"] == 0).sum()) == 4
    assert together == pytest.approx(alone, abs=1e-4)


@pytest.mark.slow
def test_packing_learns_the_same_answers_in_fewer_rows(workspace: Path) -> None:
    make_world(workspace)
    write_params(workspace, sft={"packing": True, "max_length": 512, "optimiser": OPTIMISER | {"epochs": 2.0}})
    sft.main()
    facts = report(workspace, "sft")
    assert facts["rows_seen"] < facts["examples_seen"]
    assert facts["validation_loss_after"] < facts["validation_loss_before"]


def test_packing_and_distillation_together_are_refused_in_one_line(workspace: Path) -> None:
    make_world(workspace)
    teacher = {"teacher": "models/base", "beta": 0.5, "on_policy": 0.0, "temperature": 1.0, "tokens": 8}
    write_params(workspace, sft={"packing": True, "distil": teacher})
    with pytest.raises(ParamsError, match="packing and distil do not go together"):
        load_params("sft", sft.SftParams)
