"""A student that is distilled comes nearer to its teacher, by the teacher's distributions alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from stages import distil, sft, templates, training, weights
from tests.stages.worlds import OPTIMISER, make_world, report, write_params
from thumbwheel.errors import ModelError, TrainingError
from thumbwheel.settings import settings

TEACHER: dict[str, Any] = {"teacher": "teacher", "beta": 0.5, "on_policy": 0.0, "temperature": 1.0, "tokens": 8}


def make_teacher(workspace: Path) -> None:
    """Put a model beside the base with its tokens and other weights: its answers are of another mind."""
    model = training.load_model(settings().models / "base", "float32")
    torch.manual_seed(3)
    for value in model.parameters():
        value.data += 0.05 * torch.randn_like(value)
    model.save_pretrained(workspace / "teacher")
    training.load_tokenizer(settings().models / "base").save_pretrained(workspace / "teacher")


def gap(workspace: Path, model: Any) -> float:
    """Return the mean divergence of the teacher from a model at the answers of the held-out conversations."""
    teacher = training.load_model(workspace / "teacher", "float32").eval()
    tokenizer = training.load_tokenizer(settings().models / "base")
    rows = [row for row in sft.read_rows(params()) if row["split"] == "validation"]
    template, found = templates.training_template(tokenizer), []
    for row in rows:
        one = templates.encode(tokenizer, template, row["messages"], 128)
        ids, labels = torch.tensor([one["input_ids"]]), torch.tensor(one["labels"])
        with torch.inference_mode():
            ours, theirs = (m(ids).logits[0, :-1].log_softmax(-1) for m in (model.eval(), teacher))
        found.append((theirs.exp() * (theirs - ours)).sum(-1)[labels[1:] != templates.IGNORED])
    return float(torch.cat(found).mean())


def params() -> sft.SftParams:
    from thumbwheel.params import load_params

    return load_params("sft", sft.SftParams)


@pytest.mark.slow
@pytest.mark.parametrize("on_policy", [0.0, 1.0], ids=["on the data", "on its own answers"])
def test_the_student_comes_nearer_to_its_teacher(workspace: Path, on_policy: float) -> None:
    make_world(workspace)
    make_teacher(workspace)
    optimiser = OPTIMISER | {"epochs": 4.0, "steps": 30, "save_steps": 30}
    write_params(
        workspace, sft={"method": "full", "distil": TEACHER | {"on_policy": on_policy}, "optimiser": optimiser}
    )
    base = settings().models / "base"
    before = gap(workspace, weights.load(base, "float32"))
    sft.main()
    after = gap(workspace, weights.load(base, "float32", [settings().models / "sft"]))
    assert after < 0.8 * before
    assert report(workspace, "sft")["validation_loss_after"] < report(workspace, "sft")["validation_loss_before"]


def test_a_teacher_that_is_not_there_is_one_clear_error(workspace: Path) -> None:
    make_world(workspace)
    write_params(workspace, sft={"distil": TEACHER})
    with pytest.raises(ModelError, match=r"sft.distil.teacher = 'teacher': there is no model"):
        sft.main()


def test_a_teacher_with_other_tokens_is_refused(workspace: Path) -> None:
    make_world(workspace)
    make_teacher(workspace)
    tokenizer = training.load_tokenizer(settings().models / "base")
    tokenizer.add_tokens(["quite-another"])
    tokenizer.save_pretrained(workspace / "teacher")
    with pytest.raises(TrainingError, match=r"other tokens than models/base"):
        distil.check_tokens(distil.DistilParams(**TEACHER), training.load_tokenizer(settings().models / "base"))


def test_a_batch_pads_prompts_on_the_left_and_the_rest_on_the_right() -> None:
    ignored = templates.IGNORED
    rows = [
        {"input_ids": [1, 2, 3, 4], "labels": [ignored, ignored, 3, 4]},
        {"input_ids": [5, 6], "labels": [ignored, 6]},
    ]
    batch = {name: value.tolist() for name, value in distil.collate(rows, pad=0).items()}
    assert batch["input_ids"] == [[1, 2, 3, 4], [5, 6, 0, 0]]
    assert batch["labels"] == [[ignored, ignored, 3, 4], [ignored, 6, ignored, ignored]]
    assert batch["prompts"] == [[1, 2], [0, 5]]
    assert batch["prompt_attention_mask"] == [[1, 1], [0, 1]]
