"""A chat with engines beside its own, and an engine that takes adapters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tests.fakes import FakeEngine, served
from tests.serving.conftest import OPTIONS, Chat, chatting
from thumbwheel.settings import settings


class AdapterEngine(FakeEngine):
    """A fake engine that takes adapters as vLLM does and answers in the name of the model that was asked for.

    `silence` is seconds before it begins to answer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.adapters: dict[str, str] = {}
        self.keys: list[str | None] = []
        self.silence = 0.0
        self.refuses_adapters = False
        self.is_well = True
        self.bundle = ""

    def answer(self, payload: dict[str, Any]) -> str:
        return self.text or f"{payload['model']} says: {payload['messages'][-1]['content']}"

    def app(self) -> Any:
        app = super().app()
        app.router.routes[:0] = [
            Route("/health", self._health),
            Route("/v1/load_lora_adapter", self._load, methods=["POST"]),
            Route("/v1/unload_lora_adapter", self._unload, methods=["POST"]),
            Route("/v1/models", lambda _: JSONResponse({"data": [{"id": "m", "root": self.bundle}]})),
            Route("/metrics", lambda _: PlainTextResponse(METRICS)),
        ]
        return app

    async def _complete(self, request: Request) -> Response:
        self.keys.append(request.headers.get("Authorization"))
        await asyncio.sleep(self.silence)
        name = json.loads(await request.body())["model"]
        if "@" in name and name not in self.adapters:
            return JSONResponse({"error": {"message": f"The model `{name}` does not exist."}}, 404)
        return await super()._complete(request)

    async def _health(self, request: Request) -> Response:
        return PlainTextResponse("", 200 if self.is_well else 500)

    async def _load(self, request: Request) -> Response:
        body = json.loads(await request.body())
        if self.refuses_adapters:
            return JSONResponse({"error": {"message": "its rank is too high"}}, 400)
        self.adapters[body["lora_name"]] = body["lora_path"]
        return PlainTextResponse("Success")

    async def _unload(self, request: Request) -> Response:
        name = json.loads(await request.body())["lora_name"]
        if self.adapters.pop(name, None) is None:
            return JSONResponse({"error": {"message": f"The lora adapter '{name}' cannot be found."}}, 404)
        return PlainTextResponse("Success")


METRICS = """\
# TYPE vllm:prefix_cache_queries counter
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 1000.0
# TYPE vllm:prefix_cache_hits counter
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 768.0
vllm:spec_decode_num_draft_tokens_total{engine="0",model_name="m"} 40.0
vllm:spec_decode_num_accepted_tokens_total{engine="0",model_name="m"} 30.0
"""


@dataclass
class Models:
    """A chat whose own engine is `primary`, with engines beside it by their names."""

    chat: Chat
    primary: AdapterEngine
    beside: dict[str, AdapterEngine]


def fallback(name: str, url: str, takes: list[str], **more: Any) -> dict[str, Any]:
    base = {
        "name": name,
        "url": url,
        "model": f"{name}-model",
        "key": None,
        "answers": 4,
        "trusted": True,
        "tools": True,
    }
    return {**base, "takes": takes, **more}


@contextmanager
def models(
    folder: Path, beside: dict[str, Any], sections: dict[str, Any] | None = None, **changed: Any
) -> Iterator[Models]:
    """Serve a chat; `beside` gives each further engine by name: what it takes, or that and more of its options."""
    with ExitStack() as stack:
        engines = {name: AdapterEngine() for name in beside}
        fallbacks = []
        for name, wish in beside.items():
            engines[name].url = stack.enter_context(served(engines[name].app()))
            more = wish if isinstance(wish, dict) else {"takes": wish}
            fallbacks.append(fallback(name, engines[name].url, **more))
        options = OPTIONS.model_dump()
        options["limits"]["tiers"]["standard"] = options["limits"]["tiers"]["anonymous"]
        options["models"].update({"fallbacks": fallbacks, **changed})
        for section, keys in (sections or {}).items():
            options[section].update(keys)
        primary = AdapterEngine()
        chat = stack.enter_context(chatting(folder, type(OPTIONS).model_validate(options), engine=primary))
        yield Models(chat, primary, engines)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder of its own."""
    monkeypatch.setenv("THUMBWHEEL_STATE", str(tmp_path / "state"))
    settings.cache_clear()
    yield tmp_path / "state"
    settings.cache_clear()
