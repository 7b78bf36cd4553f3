"""A run that was cut goes on where it stood, over batches whose order is known beforehand."""

from __future__ import annotations

import errno
import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stages import adapters, checkpoints, training
from stages.schedule import schedule
from tests.fakes import tiny_model
from tests.stages.worlds import OPTIMISER
from thumbwheel.errors import DiskFullError, ModelError, TrainingError


@given(
    lengths=st.lists(st.integers(1, 500), min_size=1, max_size=60),
    batch=st.integers(1, 8),
    steps=st.integers(1, 30),
    epochs=st.floats(0.1, 3.0),
    seed=st.integers(0, 5),
)
def test_the_schedule_is_bounded_fair_and_repeatable(
    lengths: list[int], batch: int, steps: int, epochs: float, seed: int
) -> None:
    first = schedule(lengths, epochs, batch, steps, np.random.default_rng(seed))
    again = schedule(lengths, epochs, batch, steps, np.random.default_rng(seed))
    counts = np.bincount(first, minlength=len(lengths))
    assert first == again
    assert len(first) == min(steps * batch, math.ceil(epochs * len(lengths)))
    assert counts.max() - counts.min() <= 1


def test_batches_hold_examples_of_like_length() -> None:
    lengths = [10, 200] * 16
    order = schedule(lengths, 1.0, 4, 100, np.random.default_rng(0))
    batches = [{lengths[i] for i in order[j : j + 4]} for j in range(0, len(order), 4)]
    assert all(len(batch) == 1 for batch in batches)


def test_a_checkpoint_that_a_kill_cut_short_is_passed_over_and_removed(tmp_path: Path) -> None:
    for step, state in ((2, '{"global_step": 2}'), (4, '{"global_st')):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / checkpoints.STATE_FILE).write_text(state)
    (tmp_path / "checkpoint-6").mkdir()
    assert checkpoints.last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]


def test_the_newest_checkpoint_is_the_one_of_the_highest_step(tmp_path: Path) -> None:
    for step in (8, 10, 2):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / checkpoints.STATE_FILE).write_text(json.dumps({"global_step": step}))
    assert str(checkpoints.last_checkpoint(tmp_path)).endswith("checkpoint-10")


def test_other_data_or_parameters_have_other_checkpoints(workspace: Path) -> None:
    folders = {
        checkpoints.checkpoint_folder("sft", *parts) for parts in (("a", {"r": 1}), ("b", {"r": 1}), ("a", {"r": 2}))
    }
    assert len(folders) == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["loss", "eval_loss", "grad_norm"])
def test_a_loss_or_a_gradient_that_is_no_number_stops_the_training(name: str, value: float) -> None:
    with pytest.raises(TrainingError, match="step 7"):
        training.refuse_nan({"learning_rate": 1.0, name: value}, 7)


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="dvc repro"):
        training.load_model(tmp_path / "nowhere", "float32")


def test_damaged_weights_are_one_clear_error(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "base")
    (folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelError, match="cannot be loaded"):
        training.load_model(folder, "float32")


def test_a_checkpoint_between_two_looks_at_the_loss_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"save_steps \(3\) must be a multiple of log_steps \(2\)"):
        training.OptimiserParams.model_validate({**OPTIMISER, "save_steps": 3, "log_steps": 2})


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("I/O error: No space left on device")]
)
def test_a_full_disk_is_one_line_that_says_what_to_do(error: Exception, tmp_path: Path) -> None:
    class Full:
        args = SimpleNamespace(output_dir=str(tmp_path), eval_on_start=True)

        def train(self, resume_from_checkpoint: str | None) -> None:
            raise error

    with pytest.raises(DiskFullError, match="Free some space and run again; it goes on from the last whole checkpoint"):
        training.fit(Full(), None)


@pytest.mark.parametrize(("free", "kind"), [(0, DiskFullError), (2**30, RuntimeError)])
def test_a_write_that_failed_for_no_reason_given_is_a_full_disk_where_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, kind: type[Exception]
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(kind), checkpoints.room(tmp_path):
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")


def test_the_checkpoint_of_a_private_training_is_named_too(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path) is None
    (tmp_path / checkpoints.PRIVATE_FILE).touch()
    assert str(checkpoints.newest(tmp_path)).endswith(checkpoints.PRIVATE_FILE)


@pytest.mark.parametrize(
    "change", [{"batch": 0}, {"steps": 0}, {"epochs": 0.0}, {"learning_rate": -1.0}, {"warmup": 1.0}]
)
def test_a_number_that_no_training_can_have_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(change))):
        training.OptimiserParams.model_validate({**OPTIMISER, **change})


def test_a_target_that_the_model_does_not_have_is_named_and_not_left_out(tmp_path: Path) -> None:
    model = training.load_model(tiny_model(tmp_path / "base"), "float32")
    lora = adapters.LoraParams(r=4, alpha=8, dropout=0.0, targets=["q_proj", "v_prj"])
    with pytest.raises(TrainingError, match=r"names 'v_prj', which the model does not have; it has: .*v_proj"):
        adapters.lora_config(lora, model)
