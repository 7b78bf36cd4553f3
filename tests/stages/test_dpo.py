"""DPO starts from the reference, prefers what was chosen, and does without pairs."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages import adapters, dpo, training, weights
from tests.stages.worlds import OPTIMISER, give_identity_sft, make_world, write_params
from thumbwheel.errors import ModelError, ParamsError, TrainingError


def report(root: Path) -> dict[str, float]:
    return dict(json.loads((root / "data" / "reports" / "dpo.json").read_text()))


@given(weights=st.lists(st.floats(0.0, 5.0), min_size=1, max_size=40), size=st.integers(1, 80), seed=st.integers(0, 9))
def test_pairs_are_drawn_in_proportion_to_their_weight(weights: list[float], size: int, seed: int) -> None:
    weights = [*weights, 1.0]
    counts = Counter(dpo.draw(weights, size, np.random.default_rng(seed)))
    assert counts.total() == size
    for i, weight in enumerate(weights):
        assert abs(counts[i] - size * weight / sum(weights)) < 1 + 1e-6


def test_an_objective_that_is_not_named_counts_nothing() -> None:
    pair = {"weight": 2.0, "objective": "safe"}
    assert dpo.weight(pair, {"safe": 1.5}) == 3.0
    assert dpo.weight(pair, {"helpful": 1.0}) == 0.0


def test_pairs_that_all_weigh_nothing_are_one_clear_error(workspace: Path) -> None:
    make_world(workspace)
    give_identity_sft(workspace)
    write_params(workspace, dpo={"objectives": {"helpful": 0.0}})
    with pytest.raises(TrainingError, match=r"'helpful': 0\.0"):
        dpo.main()


@pytest.mark.parametrize(
    "changes", [{"objectives": {"helpfull": 1.0}}, {"trade_off": [{"saef": 1.0}]}, {"objectives": {"safe": -1.0}}]
)
def test_an_objective_that_no_pair_can_have_is_refused_and_not_left_out(
    workspace: Path, changes: dict[str, Any]
) -> None:
    write_params(workspace, dpo=changes)
    with pytest.raises(ParamsError, match=next(iter(changes))):
        dpo.main()


def test_a_missing_sft_adapter_is_named(workspace: Path) -> None:
    make_world(workspace)
    with pytest.raises(ModelError, match="models/sft"):
        dpo.main()


def test_without_pairs_the_adapter_changes_nothing_and_the_report_says_so(workspace: Path) -> None:
    make_world(workspace, pairs=0)
    give_identity_sft(workspace)
    dpo.main()
    base = workspace / "models" / "base"
    merged = adapters.merge_adapter(training.load_model(base, "float32"), workspace / "models" / "dpo").state_dict()
    plain = training.load_model(base, "float32").state_dict()
    assert all((merged[name] == weight).all() for name, weight in plain.items())
    assert "no pairs" in str(report(workspace)["note"])


@pytest.mark.slow
def test_the_first_loss_is_log_two_and_training_widens_the_margin(workspace: Path) -> None:
    make_world(workspace)
    give_identity_sft(workspace)
    dpo.main()
    facts = report(workspace)
    assert facts["validation_loss_before"] == pytest.approx(math.log(2), abs=1e-4)
    assert facts["train_loss_first"] == pytest.approx(math.log(2), abs=1e-4)
    assert facts["validation_margin_after"] > facts["validation_margin_before"] == 0
    assert facts["validation_accuracy_after"] == 1.0


@pytest.mark.slow
def test_a_heavier_objective_is_seen_more_often(workspace: Path) -> None:
    make_world(workspace)
    give_identity_sft(workspace)
    write_params(workspace, dpo={"objectives": {"helpful": 1.0, "safe": 5.0}, "optimiser": {**OPTIMISER, "steps": 7}})
    dpo.main()
    assert report(workspace)["seen_safe"] > report(workspace)["seen_helpful"]


@pytest.mark.slow
@pytest.mark.parametrize("loss", [name for name in get_args(dpo.Loss) if name != "sigmoid"])
def test_every_loss_that_params_may_name_trains(workspace: Path, loss: str) -> None:
    make_world(workspace)
    give_identity_sft(workspace)
    write_params(
        workspace,
        dpo={"loss": loss, "label_smoothing": 0.01, "sft_weight": 0.1, "optimiser": {**OPTIMISER, "steps": 2}},
    )
    dpo.main()
    facts = report(workspace)
    assert math.isfinite(facts["train_loss_last"])
    assert facts["validation_margin_after"] != 0


def test_a_loss_that_divides_by_nothing_is_refused_in_one_line(workspace: Path) -> None:
    make_world(workspace)
    write_params(workspace, dpo={"loss": "exo_pair"})
    with pytest.raises(ParamsError, match=r"exo_pair needs a label_smoothing above 0"):
        dpo.main()


@pytest.mark.slow
def test_held_out_pairs_have_their_accuracy_and_margin_with_intervals_by_objective(workspace: Path) -> None:
    make_world(workspace, pairs=20)
    give_identity_sft(workspace)
    write_params(workspace, dpo={"max_validation": 2})
    dpo.main()
    facts = report(workspace)
    assert facts["helpful_pairs"] == 2
    assert facts["helpful_accuracy_low"] < facts["helpful_accuracy"] == facts["validation_accuracy_after"] == 1.0
    assert facts["helpful_margin_low"] < facts["helpful_margin"] < facts["helpful_margin_high"]
    assert facts["helpful_margin"] == pytest.approx(facts["validation_margin_after"], abs=0.02)


@pytest.mark.slow
def test_other_weights_are_tried_for_the_report_and_change_nothing_of_the_adapter(workspace: Path) -> None:
    make_world(workspace)
    give_identity_sft(workspace)
    dpo.main()
    alone = weights.weights_hash(workspace / "models" / "dpo")
    mixes = [{"helpful": 1.0, "safe": 0.2}, {"helpful": 1.0, "safe": 1.0}, {"helpful": 0.2, "safe": 1.0}]
    write_params(workspace, dpo={"trade_off": mixes})
    dpo.main()
    found = report(workspace)["trade_off"]
    assert [one["objectives"] for one in found] == mixes
    assert len({one["helpful_margin"] for one in found}) == 3
    assert found[1]["helpful_margin"] == report(workspace)["helpful_margin"]
    assert weights.weights_hash(workspace / "models" / "dpo") == alone
    assert not list((workspace / ".thumbwheel" / "checkpoints").iterdir())
