"""Adapters, guesses and prefix counts on vLLM itself, behind the chat."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.app import create_app
from serving.history import SqliteHistory
from serving.models import adapters
from serving.models.arguments import engine_arguments, engine_variables
from serving.models.options import AdapterOptions, EngineOptions, NgramOptions
from tests.fakes import served, tiny_model
from tests.serving.conftest import OPTIONS, RELEASE, parts_of
from thumbwheel.engine import running_engine
from thumbwheel.errors import ModelError
from thumbwheel.outbox import Outbox
from thumbwheel.settings import settings

pytestmark = pytest.mark.slow

WANTED = EngineOptions(
    prefix_caching=True,
    tools=None,
    speculation=NgramOptions(method="ngram", tokens=3, shortest=1, longest=3),
    adapters=AdapterOptions(at_once=1, in_memory=2, rank=8),
)


def random_adapter(base: Path, folder: Path) -> Path:
    """Write an adapter of random weights that changes every answer of the model in `base`.

    With this seed each token that is said leads the next best by more than half the spread of the logits, before as
    under the adapter: no processor's arithmetic turns that over, nor does a prefix that is found instead of read.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(r=8, lora_alpha=64, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    get_peft_model(model, config).save_pretrained(str(folder))
    return folder


def wish(name: str, folder: Path) -> Any:
    return argparse.Namespace(name=name, folder=folder, sha256=None, tier=None, tenant=None)


def test_vllm_serves_base_and_adapters_side_by_side_and_takes_them_while_it_runs(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "_slots", lambda: WANTED.adapters)
    monkeypatch.setenv("THUMBWHEEL_ENGINE_ARGUMENTS", shlex.join(engine_arguments(WANTED)))
    for name, value in engine_variables(WANTED).items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    base = tiny_model(tmp_path / "base", hidden=64)
    fitting = random_adapter(base, tmp_path / "fitting")
    strange = random_adapter(tiny_model(tmp_path / "narrow", hidden=32), tmp_path / "strange")
    release = {"model": RELEASE.model, "bundle": RELEASE.bundle}
    options = type(OPTIONS).model_validate(
        {**OPTIONS.model_dump(), "models": {**OPTIONS.models.model_dump(), "engine": WANTED}}
    )
    history, outbox = SqliteHistory(tmp_path / "h.db"), Outbox(tmp_path / "o.db")
    with running_engine(base, RELEASE.model, 512, tmp_path / "engine.log") as url:
        address = url.removesuffix("/v1")
        app = create_app(lambda: parts_of(history, address, outbox, options, tmp_path))
        with served(app) as chat, httpx.Client(base_url=address, timeout=120) as engine:

            def ask(model: str | None = None) -> str:
                body = {
                    "model": model,
                    "messages": [{"role": "user", "content": "la " * 40}],
                    "temperature": 0,
                    "max_tokens": 12,
                }
                answer = httpx.post(f"{chat}/v1/chat/completions", json=body, timeout=120).raise_for_status().json()
                return str(answer["choices"][0]["message"]["content"])

            before = ask()
            one = adapters.load(wish("other", fitting), release, engine)
            under = ask("other")
            assert under != before
            engine.post("/v1/unload_lora_adapter", json={"lora_name": one.served_name}).raise_for_status()
            assert ask("other") == under
            assert ask() == before
            with pytest.raises(ModelError, match="does not fit"):
                adapters.load(wish("strange", strange), release, engine)
            assert ask() == before
            adapters.unload("other", engine)
            assert httpx.get(f"{chat}/v1/models", timeout=120).json()["data"][-1]["id"] == RELEASE.name
            counts = httpx.get(f"{chat}/metrics", timeout=120).text
    assert 'thumbwheel_engine_tokens{what="prefix_looked_up"}' in counts
    assert 'thumbwheel_engine_tokens{what="guessed"}' in counts
