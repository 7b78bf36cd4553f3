"""The search: bounded by its number of trials, each a run in the tracker, and taken up where a kill cut it short."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState
from safetensors.torch import load_file, save_file

from stages import kto, trial, tune
from stages.trial import changed
from stages.tune import Range, TuneParams, changed_only
from tests.stages.test_resume import environment, kill_after_a_checkpoint
from tests.stages.worlds import OPTIMISER, give_identity, liked_and_not, make_world
from thumbwheel import tracking
from thumbwheel.errors import DiskFullError, ParamsError, TrainingError, TurnError
from thumbwheel.params import load_params

SEARCH: dict[str, Any] = {
    "stage": "sft",
    "measure": "validation_loss_after",
    "direction": "minimize",
    "trials": 4,
    "seed": 1,
    "space": {"optimiser.learning_rate": {"low": 1e-4, "high": 0.03, "log": True}, "lora.r": [2, 4]},
}


def make(root: Path, thumbs: int = 0, **changes: Any) -> None:
    make_world(root, thumbs=thumbs)
    for stage in ("sft", "dpo"):
        give_identity(root, stage)
    sections = yaml.safe_load((root / "params.yaml").read_text()) | {"tune": SEARCH | changes}
    (root / "params.yaml").write_text(yaml.safe_dump(sections))


def give_other_weights(folder: Path) -> None:
    (path,) = folder.glob("*.safetensors")
    save_file({name: value + 1 for name, value in load_file(path).items()}, path)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["tune", *arguments])
    tune.main()


def states(root: Path) -> list[TrialState]:
    storage = f"sqlite:///{root / '.thumbwheel' / 'tune.db'}"
    (name,) = optuna.get_all_study_names(storage)
    return [trial.state for trial in optuna.load_study(study_name=name, storage=storage).get_trials()]


def report(root: Path) -> dict[str, Any]:
    return dict(json.loads((root / "data" / "reports" / "tune.json").read_text()))


@pytest.mark.slow
def test_a_search_finds_the_best_of_its_trials_and_more_may_be_added(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make(workspace)
    run(monkeypatch)
    facts = report(workspace)
    values = [trial["value"] for trial in facts["trials"]]
    assert len(values) == 4
    assert values == sorted(values)
    assert facts["best"]["lora"]["r"] == facts["trials"][0]["params"]["lora.r"]
    shown = yaml.safe_load(capsys.readouterr().out.split("in params.yaml:\n\n")[1])
    assert shown == {"sft": facts["best"]}
    runs = tracking.client().search_runs([tracking.client().get_experiment_by_name(tracking.EXPERIMENT).experiment_id])
    tried = [one for one in runs if one.data.tags["mlflow.runName"].startswith("tune sft")]
    assert sorted(one.data.metrics["validation_loss_after"] for one in tried) == pytest.approx(values)

    run(monkeypatch, "--trials", "5")
    assert states(workspace) == [TrialState.COMPLETE] * 5
    run(monkeypatch, "--trials", "5")
    assert len(states(workspace)) == 5


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_with_the_trial_it_was_at(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "stages")
    make(workspace, trials=3, space={"lora.alpha": [4, 8]})
    kill_after_a_checkpoint([sys.executable, "-m", "stages.tune"], workspace)
    run(monkeypatch)
    assert "taking up trial" in caplog.text
    assert "resuming from step" in caplog.text
    assert sorted(states(workspace)) == [TrialState.COMPLETE] * 3 + [TrialState.FAIL]


KTO: dict[str, Any] = {
    "stage": "kto",
    "measure": "held_out_margin",
    "direction": "maximize",
    "space": {"optimiser.learning_rate": [1e-6, 0.02]},
}


@pytest.mark.slow
def test_thumbs_without_a_pair_are_tried_on_those_that_were_put_aside(workspace: Path) -> None:
    make(workspace, 40, **KTO)
    params = changed("kto", {"optimiser.learning_rate": 0.02})
    with tracking.stage_run("tune kto 0", params) as found:
        facts = trial.train("kto", params, found, "a study")
    assert facts["held_out_margin"] > 0.01
    assert facts["held_out_order"] > 0.9
    assert facts["held_out"] + facts["liked"] + facts["disliked"] == 40
    assert not (workspace / "models" / "kto").exists()


def test_too_few_thumbs_end_the_search_and_say_so(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(workspace, 3, trials=1, **KTO)
    with pytest.raises(TrainingError, match="3 thumbs without a pair are too few for a search over kto"):
        run(monkeypatch)


@given(count=st.integers(0, 60), seed=st.integers(0, 5))
def test_each_thumb_is_learnt_from_or_put_aside_and_new_ones_move_none(count: int, seed: int) -> None:
    thumbs = liked_and_not(count + 1).to_pylist()
    learnt, aside = kto.put_aside(thumbs, seed)
    assert sorted(one["id"] for one in [*learnt, *aside]) == sorted(one["id"] for one in thumbs)
    fewer_learnt, fewer_aside = kto.put_aside(thumbs[:count], seed)
    assert all(one in learnt for one in fewer_learnt)
    assert all(one in aside for one in fewer_aside)


def test_a_search_starts_from_the_models_of_the_stages_before(workspace: Path) -> None:
    make(workspace, 8, **KTO)
    params = load_params("tune", TuneParams)
    name = tune.study_name(params)
    give_other_weights(workspace / "models" / "dpo")
    assert tune.study_name(params) != name
    assert set(trial.KINDS) == set(trial.BEFORE)


@pytest.mark.slow
def test_two_processes_share_the_trials(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(workspace)
    for name, value in environment(workspace).items():
        monkeypatch.setenv(name, value)
    run(monkeypatch, "--jobs", "2")
    assert 4 <= states(workspace).count(TrialState.COMPLETE) <= 5
    assert len(report(workspace)["trials"]) >= 4


@pytest.mark.slow
def test_a_training_that_must_not_go_on_ends_its_trial_and_not_the_search(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(workspace, trials=3, space={"optimiser.learning_rate": [0.001, 1e30]})
    run(monkeypatch, "--trials", "3")
    facts = report(workspace)
    assert facts["best"] == {"optimiser": {"learning_rate": 0.001}}
    assert all("learning rate" in why for why in facts["stopped"].values())
    assert len(facts["trials"]) + len(facts["stopped"]) == 3


def test_a_full_disk_ends_the_search_and_prunes_no_trial(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> dict[str, Any]:
        raise DiskFullError("the disk is full")

    make(workspace)
    monkeypatch.setattr(tune, "train", full)
    with pytest.raises(DiskFullError):
        run(monkeypatch, "--trials", "2")
    assert states(workspace) == [TrialState.FAIL]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"space": {"optimiser.lerning_rate": [1.0]}}, "names 'optimiser.lerning_rate', which sft does not have"),
        ({"space": {"beta": [0.1]}}, "names 'beta', which sft does not have"),
        ({"space": {"optimiser.save_steps": {"low": -3, "high": 2}}}, "save_steps"),
        ({"space": {"lora.r": {"low": 8, "high": 4}}}, "8 to 4 is no range"),
        ({"space": {"lora.r": {"low": 0, "high": 4, "log": True}}}, "no range with a logarithm"),
        ({"space": {}}, "space"),
    ],
)  # fmt: skip
def test_a_space_that_the_stage_does_not_have_is_refused_before_anything_is_trained(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], words: str
) -> None:
    make(workspace, **changes)
    with pytest.raises(ParamsError, match=words):
        run(monkeypatch)
    assert not (workspace / ".thumbwheel" / "tune.db").exists()


def test_one_search_at_a_time(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(workspace)
    with tune.alone(), pytest.raises(TurnError, match="another search runs here"):
        run(monkeypatch)


def test_another_space_or_other_parameters_are_another_study(workspace: Path) -> None:
    make(workspace)
    params = load_params("tune", TuneParams)
    name = tune.study_name(params)
    assert tune.study_name(params.model_copy(update={"trials": 99})) == name
    assert tune.study_name(params.model_copy(update={"space": {"lora.r": [2, 4]}})) != name


def test_dotted_keys_stand_where_they_point(workspace: Path) -> None:
    make(workspace)
    params = changed("dpo", {"optimiser.learning_rate": 0.5, "beta": 0.3})
    assert (params.optimiser.learning_rate, params.optimiser.batch) == (0.5, OPTIMISER["batch"])
    assert changed_only({"a.b.c": 1, "a.d": 2, "e": 3}) == {"a": {"b": {"c": 1}, "d": 2}, "e": 3}


def test_whole_bounds_give_whole_numbers() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    trial = study.ask()
    assert isinstance(tune.suggest(trial, "r", Range(low=1, high=9)), int)
    assert isinstance(tune.suggest(trial, "x", Range(low=1.0, high=9)), float)
