"""SFT on a tiny model: it learns, repeats itself exactly, and says what it cannot do."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from stages import sft
from tests.stages.worlds import OPTIMISER, make_world, preferences, write_params
from thumbwheel.errors import TrainingError

ADAPTER = ["adapter_config.json", "adapter_model.safetensors"]


def report(root: Path) -> dict[str, float]:
    return dict(json.loads((root / "data" / "reports" / "sft.json").read_text()))


@pytest.mark.slow
def test_training_lowers_the_validation_loss_and_leaves_only_the_adapter(workspace: Path) -> None:
    make_world(workspace)
    sft.main()
    assert sorted(path.name for path in (workspace / "models" / "sft").iterdir()) == ADAPTER
    assert report(workspace)["validation_loss_after"] < report(workspace)["validation_loss_before"]
    assert not list((workspace / ".thumbwheel" / "checkpoints").iterdir())


@pytest.mark.slow
def test_the_same_inputs_give_the_same_adapter_and_report(workspace: Path) -> None:
    make_world(workspace)
    sft.main()
    files = [(workspace / "models" / "sft" / name).read_bytes() for name in ADAPTER]
    facts = report(workspace)
    sft.main()
    assert [(workspace / "models" / "sft" / name).read_bytes() for name in ADAPTER] == files
    assert report(workspace) == facts


def test_nothing_to_train_on_is_one_clear_error(workspace: Path) -> None:
    make_world(workspace)
    write_params(workspace, sft={"max_length": 8})
    with pytest.raises(TrainingError, match="no conversation to train on"):
        sft.main()
    assert not (workspace / "models" / "sft").exists()


@pytest.mark.slow
def test_a_learning_rate_that_breaks_the_loss_stops_the_stage(workspace: Path) -> None:
    make_world(workspace)
    write_params(workspace, sft={"optimiser": {**OPTIMISER, "learning_rate": 1e30}})
    with pytest.raises(TrainingError, match="learning rate"):
        sft.main()
    assert not (workspace / "models" / "sft").exists()


@pytest.mark.slow
def test_two_halves_of_a_batch_teach_what_the_whole_does(workspace: Path) -> None:
    make_world(workspace)
    learnt = []
    for batch, accumulation in ((4, 1), (2, 2), (1, 4)):
        write_params(workspace, sft={"optimiser": {**OPTIMISER, "batch": batch, "accumulation": accumulation}})
        sft.main()
        learnt.append((load_file(workspace / "models" / "sft" / ADAPTER[1]), report(workspace)))
    (whole, facts), *halves = learnt
    write_params(workspace, sft={"optimiser": {**OPTIMISER, "batch": 2, "accumulation": 1, "steps": 4}})
    sft.main()
    other = distance(load_file(workspace / "models" / "sft" / ADAPTER[1]), whole)
    for weights, found in halves:
        assert found["train_loss_last"] == pytest.approx(facts["train_loss_last"], abs=2e-3)
        assert distance(weights, whole) < 0.05 < other


def distance(weights: dict[str, Any], others: dict[str, Any]) -> float:
    """Return how far the B matrices, which start at zero, are apart, as a share of how far the others moved."""
    names = [name for name in weights if "lora_B" in name]
    apart = sum(float((weights[name] - others[name]).square().sum()) for name in names)
    return math.sqrt(apart / sum(float(others[name].square().sum()) for name in names))


@pytest.mark.slow
def test_training_ends_when_the_validation_loss_no_longer_falls_and_keeps_the_best(workspace: Path) -> None:
    make_world(workspace)
    rising = {**OPTIMISER, "learning_rate": 0.3, "steps": 12, "epochs": 4.0, "schedule": "constant"}
    write_params(workspace, sft={"optimiser": rising})
    sft.main()
    to_the_end = report(workspace)
    write_params(workspace, sft={"optimiser": rising | {"patience": 2}})
    sft.main()
    facts = report(workspace)
    assert facts["steps"] < to_the_end["steps"] == 12
    assert facts["best_step"] == facts["steps"] - 2
    assert facts["validation_loss_after"] < to_the_end["validation_loss_after"]


def test_only_training_pairs_of_the_named_objectives_are_demonstrated() -> None:
    pairs = preferences(8).to_pylist()
    shown = sft.demonstrations(pairs, ["safe"])
    assert [row["messages"][0]["content"] for row in shown] == ["Is 0 even?", "Is 4 even?"]
    assert shown[1]["messages"][-1] == {"role": "assistant", "content": pairs[4]["chosen"]}
