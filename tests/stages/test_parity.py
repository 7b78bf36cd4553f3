"""Parity with real bundles: the right one has no fault, and each planted one is named under the real engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from stages import adapters, parity, quantize, training
from stages.parity import ParityParams, changed_files, choose, encode
from tests.fakes import tiny_model
from tests.stages.worlds import make_world
from thumbwheel.bundle import bundle_hash
from thumbwheel.errors import GateError

PARAMS = ParityParams(
    conversations=4,
    max_length=128,
    top=8,
    answers=2,
    answer_tokens=8,
    seed=1,
    resamples=200,
    min_top1=0.75,
    max_divergence=0.05,
    scale=(0.7, 1.35),
)
CONVERSATIONS = [
    {
        "id": f"c{i}",
        "split": "test",
        "messages": [
            {"role": "user", "content": f"How do I mend lamp number {i}?"},
            {"role": "assistant", "content": "Take it off the wall, wait ten seconds, and press the button twice."},
        ],
    }
    for i in range(4)
]


@pytest.fixture
def models(workspace: Path) -> Path:
    """A base model that the engine serves, with two adapters that change what it says."""
    make_world(workspace)
    models = workspace / "models"
    tiny_model(models / "base", hidden=64)
    lora = adapters.LoraParams(r=4, alpha=8, dropout=0.0, targets="all-linear")
    for seed, name in enumerate(("sft", "dpo")):
        adapters.save_identity(training.load_model(models / "base", "float32"), lora, seed, models / name)
        path = models / name / "adapter_model.safetensors"
        torch.manual_seed(seed)
        weights = {key: torch.randn_like(value) * 0.1 for key, value in load_file(path).items()}
        save_file(weights, path, metadata={"format": "pt"})
    return models


def merged(models: Path, names: tuple[str, ...] = ("sft", "dpo")) -> None:
    """Write the bundle in bfloat16 with some adapters merged, each as often as it is named."""
    model = training.load_model(models / "base", "float32")
    for name in names:
        model = adapters.merge_adapter(model, models / name)
    (models / "served").mkdir()
    quantize.write_bundle(model.to(torch.bfloat16), models / "base", models / "served", "bf16")


def other_words(models: Path) -> None:
    """Write a bundle without the DPO adapter, and with words in the chat template that training did not see."""
    merged(models, ("sft",))
    template = models / "served" / "chat_template.jinja"
    template.write_text("{{ 'Be brief. ' }}" + template.read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "scales", "words"),
    [
        (merged, (1, 1), []),
        (other_words, (1, 0), ["chat_template.jinja is not", "4 of 4 prompts into other", "dpo is present at 0.00 "]),
        (lambda models: merged(models, ("sft", "sft", "dpo")), (2, 1), ["adapter sft is present at"]),
    ],
    ids=["right", "template and unmerged", "scale"],
)
def test_a_bundle_is_named_by_what_is_wrong_with_it(
    models: Path, plant: Callable[[Path], None], scales: tuple[float, float], words: list[str]
) -> None:
    plant(models)
    found = parity.check(models, CONVERSATIONS, PARAMS)
    assert found["bundle"] == bundle_hash(models / "served")
    assert found["tokens"] > 200
    assert [found["scales"][name]["value"] for name in ("sft", "dpo")] == pytest.approx(scales, abs=0.05)
    assert bool(found["faults"]) == bool(words)
    for word in words:
        assert any(word in fault for fault in found["faults"]), found
    if not words:
        assert found["answers_prefix"] > 0.5


def test_files_that_differ_or_stand_on_one_side_only_are_named(tmp_path: Path) -> None:
    base, served = tiny_model(tmp_path / "base"), tiny_model(tmp_path / "served")
    assert changed_files(base, served) == []
    (served / "tokenizer_config.json").write_text("{}")
    (served / "generation_config.json").unlink()
    assert changed_files(base, served) == ["generation_config.json", "tokenizer_config.json"]


def test_test_conversations_are_read_before_those_of_validation_and_none_of_training() -> None:
    rows: list[dict[str, Any]] = [
        {"id": f"{split}{i}", "split": split} for split in ("train", "validation", "test") for i in range(3)
    ]
    chosen = [row["id"][:-1] for row in choose(rows, PARAMS)]
    assert chosen == ["test", "test", "test", "validation"]
    assert choose(rows, PARAMS) == choose(rows[::-1], PARAMS)


def test_places_are_those_of_the_answers_tokens(tmp_path: Path) -> None:
    tokenizer = training.load_tokenizer(tiny_model(tmp_path / "base"))
    one = encode(tokenizer, CONVERSATIONS[0], 512)
    assert one is not None
    said = tokenizer.decode([one.tokens[place] for place in one.places])
    assert said == "Take it off the wall, wait ten seconds, and press the button twice.<|im_end|>"
    assert one.tokens[: len(one.prompt)] == one.prompt
    assert encode(tokenizer, CONVERSATIONS[0], len(one.prompt)) is None


def test_no_answer_within_the_limit_is_one_line_that_says_what_to_do(models: Path) -> None:
    merged(models)
    with pytest.raises(GateError, match=r"raise parity\.max_length"):
        parity.check(models, CONVERSATIONS, PARAMS.model_copy(update={"max_length": 8}))


def test_an_adapter_that_changes_nothing_costs_no_step_and_has_no_scale(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = adapters.LoraParams(r=4, alpha=8, dropout=0.0, targets="all-linear")
    adapters.save_identity(training.load_model(models / "base", "float32"), lora, 1, models / "kto")
    model, laid = parity.load_trained(models)
    moved: list[set[str]] = []

    def step(model: Any, asked: Any, served: Any, at: dict[str, float]) -> Any:
        moved.append(set(at))
        return parity.Step(np.zeros(2), np.ones((2, len(at))))

    monkeypatch.setattr(parity, "step", step)
    said = parity.Said([1], [0.0, 0.0], [1, 1], [[1], [1]], [[0.0], [0.0]])
    found = parity.find_scales(model, laid, [None], [said], PARAMS)  # type: ignore[list-item]
    assert laid == ["sft", "dpo", "kto"]
    assert moved[0] == {"sft", "dpo"}
    assert found["kto"] is None
    assert found.keys() == set(laid)
