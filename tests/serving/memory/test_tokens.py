"""Prompts counted by a bundle's own template and tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from serving.memory.tokens import TemplateTokens, load_tokens
from tests.fakes import CHATML, tiny_tokenizer
from thumbwheel.errors import ModelError

ASKED = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Grüße, 水!"}]


def bundle(folder: Path, template: str | None = CHATML, **config: object) -> Path:
    """Write a tokenizer of bytes, whose marks are one token each, and its chat template."""
    special = ["<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate([*special, *alphabet])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(special)
    tokenizer.enable_truncation(5)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>", **config}))
    if template:
        (folder / "chat_template.jinja").write_text(template)
    return folder


def test_a_prompt_is_rendered_by_the_template_and_counted_whole_even_past_the_tokenizers_truncation(
    tmp_path: Path,
) -> None:
    tokens = load_tokens(bundle(tmp_path))
    text = tokens.render(ASKED)
    assert text == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nGrüße, 水!<|im_end|>\n<|im_start|>assistant\n"
    )
    marks = text.count("<|im_start|>") + text.count("<|im_end|>")
    plain = text.replace("<|im_start|>", "").replace("<|im_end|>", "")
    assert tokens.count(ASKED) == marks + len(plain.encode())


def test_the_template_may_stand_in_the_configuration_and_name_special_tokens(tmp_path: Path) -> None:
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "{{ bos_token }}{{ eos_token }}"}]
    special = {"content": "<s>", "lstrip": False}
    tokens = load_tokens(bundle(tmp_path, None, chat_template=named, bos_token=special))
    assert tokens.render(ASKED) == "<s><|im_end|>"


def test_a_template_may_skip_refuse_and_write_json(tmp_path: Path) -> None:
    from jinja2 import TemplateError

    template = (
        "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ m | tojson }}{% endfor %}"
        "{% if messages | length > 2 %}{{ raise_exception('too many') }}{% endif %}"
    )
    tokens = load_tokens(bundle(tmp_path, template))
    assert tokens.render(ASKED) == '{"role": "user", "content": "Grüße, 水!"}'
    with pytest.raises(TemplateError, match="too many"):
        tokens.count([*ASKED, *ASKED])


@pytest.mark.parametrize("missing", ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])
def test_a_bundle_without_its_parts_is_refused_by_name(tmp_path: Path, missing: str) -> None:
    (bundle(tmp_path) / missing).unlink()
    with pytest.raises(ModelError, match=str(tmp_path)):
        load_tokens(tmp_path)


def test_a_damaged_tokenizer_or_template_is_refused(tmp_path: Path) -> None:
    bundle(tmp_path, "{% for %}")
    with pytest.raises(ModelError, match="template"):
        load_tokens(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError):
        load_tokens(tmp_path)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[TemplateTokens, Any]:
    """One bundle as we and as transformers read it."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tiny")
    tiny_tokenizer().save_pretrained(folder)
    return load_tokens(folder), AutoTokenizer.from_pretrained(folder)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["<|im_end|>", " <|im_start|>x"]
)


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.sampled_from(["user", "assistant"]), TEXT), min_size=1, max_size=5), system=TEXT)
def test_the_count_is_that_of_transformers(
    both: tuple[TemplateTokens, Any], rows: list[tuple[str, str]], system: str
) -> None:
    ours, theirs = both
    messages = [{"role": "system", "content": system}, *({"role": role, "content": text} for role, text in rows)]
    assert ours.render(messages) == theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert ours.count(messages) == len(ids)
