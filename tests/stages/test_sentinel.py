"""The sentinel over real trainers: a training that ruins the model is stopped, and what was good stays."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from stages import dpo, sentinel, sft, weights
from tests.fakes import tiny_tokenizer
from tests.stages.worlds import OPTIMISER, give_identity_sft, make_world, report, write_params
from thumbwheel.errors import TrainingError
from thumbwheel.settings import settings

LIMITS: dict[str, Any] = {
    "prompts": 2,
    "tokens": 12,
    "max_kl": 1.0,
    "max_lost": 0.5,
    "length": [0.0, 100.0],
    "min_distinct": 0.0,
    "max_repetition": 1.0,
    "max_refusals": 1.0,
}


@pytest.mark.slow
def test_a_training_that_ruins_the_real_model_is_stopped_with_its_last_good_checkpoint(
    workspace: Path, small_model: Path
) -> None:
    make_world(workspace)
    shutil.rmtree(workspace / "models" / "base")
    (workspace / "models" / "base").symlink_to(small_model)
    give_identity_sft(workspace)
    before = weights.weights_hash(workspace / "models" / "sft")
    ruinous = OPTIMISER | {"learning_rate": 0.01, "steps": 8, "epochs": 4.0, "warmup": 0.5}
    limits = LIMITS | {"tokens": 32, "max_kl": 2.0, "min_distinct": 0.4, "max_repetition": 0.5}
    write_params(workspace, dpo={"optimiser": ruinous, "sentinel": limits, "beta": 0.05})
    with pytest.raises(TrainingError, match=r"collapses at step \d: .*last good checkpoint is") as caught:
        dpo.main()
    kept = Path(str(caught.value).split("last good checkpoint is ")[1].rstrip("."))
    stopped = int(str(caught.value).split("at step ")[1].split(":")[0])
    assert int(kept.name.removeprefix("checkpoint-")) == stopped - 1
    assert (kept / "adapter_model.safetensors").is_file()
    assert not (workspace / "models" / "dpo").exists()
    assert weights.weights_hash(workspace / "models" / "sft") == before


@pytest.mark.slow
@pytest.mark.parametrize("stage", [sft, dpo])
def test_a_gentle_training_is_left_alone_and_its_vitals_reported(workspace: Path, stage: Any) -> None:
    make_world(workspace)
    give_identity_sft(workspace)
    name = stage.__name__.rpartition(".")[2]
    write_params(workspace, **{name: {"sentinel": LIMITS}})
    stage.main()
    facts = report(workspace, name)
    assert 0 < facts["kl"] < 1.0
    assert facts["replies_length"] > 0
    assert -0.5 < facts["chosen_gain"] < 5
    assert (facts["chosen_gain"] > 0) or stage is dpo


@pytest.mark.slow
def test_the_sentinel_changes_nothing_of_what_is_learnt(workspace: Path) -> None:
    make_world(workspace)
    sft.main()
    without = weights.weights_hash(settings().models / "sft")
    write_params(workspace, sft={"sentinel": LIMITS})
    sft.main()
    assert weights.weights_hash(settings().models / "sft") == without


def test_only_the_last_reply_is_looked_at() -> None:
    dialogue = [
        {"role": "user", "content": "Hi?"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Bye?"},
        {"role": "assistant", "content": "So long."},
    ]
    one = sentinel.case(tiny_tokenizer(), dialogue, 512)
    said = [label for label in one.labels if label >= 0]
    assert tiny_tokenizer().decode(said) == "So long.<|im_end|>"
    assert len(one.labels) == len(one.whole)
    assert one.whole[: len(one.prompt)] == one.prompt
    assert not sentinel.case(tiny_tokenizer(), dialogue, 20).has_reply()
