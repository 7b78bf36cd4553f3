"""Small stand-ins for the heavy parts: tests of the real parts stand beside those that use these."""

from __future__ import annotations

import asyncio
import json
import math
import re
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from serving.history import Messages
from serving.tools.arguments import text_of
from tests.serving_thread import served


class FakeEngine:
    """An OpenAI-compatible engine over HTTP that answers `Echo N: <last message>`, N counting the requests.

    `status` makes it refuse, `reports` is an error that its streams begin with, `dies_after` breaks its answers off
    after so many pieces, `delay` is seconds a piece; it does not begin while it `is_held`. `calls`, names and
    arguments, makes it call tools behind `text`, which may then be empty; `call_finish` is how it says that such an
    answer ended.
    """

    def __init__(self) -> None:
        self.url = ""
        self.payloads: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.cancelled = 0
        self.status = 200
        self.refusal = "the prompt exceeds the maximum context length"
        self.reports: dict[str, Any] | None = None
        self.dies_after: int | None = None
        self.delay = 0.0
        self.is_held = False
        self.text: str | None = None
        self.calls: list[tuple[str, str]] = []
        self.call_finish = "tool_calls"

    def answer(self, payload: dict[str, Any]) -> str:
        if self.calls:
            return self.text or ""
        return self.text or f"Echo {len(self.payloads)}: {payload['messages'][-1]['content']}"

    def app(self) -> Starlette:
        routes = [
            Route("/health", lambda _: PlainTextResponse("ok")),
            Route("/v1/chat/completions", self._complete, methods=["POST"]),
        ]
        return Starlette(routes=routes)

    async def _complete(self, request: Request) -> Response:
        payload = json.loads(await request.body())
        self.payloads.append(payload)
        self.headers.append(dict(request.headers))
        while self.is_held:
            await asyncio.sleep(0.01)
        if self.status != 200:
            return JSONResponse({"error": {"message": self.refusal}}, self.status)
        text = self.answer(payload)
        if not payload.get("stream"):
            return await self._whole(request, text)
        return StreamingResponse(self._events(text), media_type="text/event-stream")

    async def _whole(self, request: Request, text: str) -> Response:
        """Answer at once after as long as the pieces would take; give up where the client does."""
        pieces = len(text) // 3 + 1
        for _ in range(pieces):
            await asyncio.sleep(self.delay)
            if self.delay and await request.is_disconnected():
                self.cancelled += 1
                break
        if self.dies_after is not None:
            raise ConnectionAbortedError("the engine died")
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if self.calls:
            message = {"role": "assistant", "content": text or None, "tool_calls": [*map(_call, range(9), self.calls)]}
        choice = {"index": 0, "message": message, "finish_reason": self._finish}
        return JSONResponse({"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": pieces}})

    @property
    def _finish(self) -> str:
        return self.call_finish if self.calls else "stop"

    async def _events(self, text: str) -> AsyncIterator[bytes]:
        pieces = [text[i : i + 3] for i in range(0, len(text), 3)]
        if self.reports:
            yield _event({"choices": [{"delta": {"role": "assistant", "content": ""}, "finish_reason": None}]})
            yield _event({"error": self.reports})
            return
        try:
            for number, piece in enumerate(pieces):
                if number == self.dies_after:
                    raise ConnectionAbortedError("the engine died")
                yield _event({"choices": [{"delta": {"content": piece}, "finish_reason": None}]})
                await asyncio.sleep(self.delay)
            for index, call in enumerate(self.calls):
                for delta in _call_deltas(index, call):
                    yield _event({"choices": [{"delta": {"tool_calls": [delta]}, "finish_reason": None}]})
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise
        yield _event({"choices": [{"delta": {}, "finish_reason": self._finish}]})
        yield _event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": len(pieces)}})
        yield b"data: [DONE]\n\n"


@contextmanager
def fake_engine(engine: FakeEngine | None = None) -> Iterator[FakeEngine]:
    """Serve a `FakeEngine` for the length of a `with` block."""
    engine = engine or FakeEngine()
    with served(engine.app()) as engine.url:
        yield engine


def _call(index: int, call: tuple[str, str]) -> dict[str, Any]:
    return {"id": f"call_{index}", "type": "function", "function": {"name": call[0], "arguments": call[1]}}


def _call_deltas(index: int, call: tuple[str, str]) -> Iterator[dict[str, Any]]:
    """Yield a call as vLLM streams it: id and name, then the arguments piece by piece."""
    yield {"index": index, **_call(index, (call[0], ""))}
    for place in range(0, len(call[1]), 5):
        yield {"index": index, "function": {"arguments": call[1][place : place + 5]}}


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


class WordTokens:
    """A tokenizer whose tokens are words; a message takes four more, the opening of the answer three."""

    def count(self, messages: Messages, tools: Sequence[dict[str, Any]] = ()) -> int:
        said = sum(4 + len(text_of(message).split()) for message in messages)
        return 3 + said + sum(len(json.dumps(tool).split()) for tool in tools)


def word_vectors(texts: Sequence[str]) -> Any:
    """Return unit vectors that know words and neither order nor case, shape (texts, 64)."""
    import numpy as np

    rows = np.zeros((len(texts), 64), np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word in re.findall(r"\w+", text.lower()) or [""]:
            row[zlib.crc32(word.encode()) % 64] += 1
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class FakeJudge:
    """A judge over HTTP with known verdicts, given as the probabilities of its first token.

    `verdict` maps the last message to tokens and probabilities; `speaks` leaves the probabilities out; `fails_after`
    makes it answer 503 from that call on; `refusal` is a status that it always answers with; `tokens` is what it says a
    prompt and a reply took; `busy_once` makes it answer every question 429 the first time.
    """

    def __init__(self, verdict: Callable[[str], dict[str, float]]) -> None:
        self.verdict = verdict
        self.url = ""
        self.calls = 0
        self.speaks = False
        self.fails_after: int | None = None
        self.refusal = 200
        self.tokens: tuple[int, int] | None = None
        self.busy_once = False
        self.asked: list[list[dict[str, Any]]] = []
        self._seen: set[str] = set()

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/v1/chat/completions", self._complete, methods=["POST"])])

    async def _complete(self, request: Request) -> Response:
        payload = json.loads(await request.body())
        self.calls += 1
        self.asked.append(payload["messages"])
        if self.refusal != 200:
            return JSONResponse({"error": {"message": "no"}}, self.refusal)
        if self.fails_after is not None and self.calls > self.fails_after:
            return JSONResponse({"error": {"message": "down"}}, 503)
        asked = json.dumps(payload["messages"])
        if self.busy_once and asked not in self._seen:
            self._seen.add(asked)
            return JSONResponse({"error": {"message": "slow down"}}, 429, {"retry-after": "0.05"})
        shares = self.verdict(payload["messages"][-1]["content"])
        said = max(shares, key=lambda token: shares[token])
        top = [{"token": token, "logprob": math.log(share)} for token, share in shares.items() if share > 0]
        logprobs = None if self.speaks else {"content": [{"token": said, "top_logprobs": top}]}
        used = (
            {"usage": dict(zip(("prompt_tokens", "completion_tokens"), self.tokens, strict=True))}
            if self.tokens
            else {}
        )
        return JSONResponse({"choices": [{"message": {"content": said}, "logprobs": logprobs}], **used})


@contextmanager
def fake_judge(verdict: Callable[[str], dict[str, float]]) -> Iterator[FakeJudge]:
    """Serve a `FakeJudge` for the length of a `with` block."""
    judge = FakeJudge(verdict)
    with served(judge.app()) as address:
        judge.url = f"{address}/v1"
        yield judge


CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a tiny model<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def tiny_model(folder: Path, seed: int = 0, hidden: int = 32) -> Path:
    """Write a random Llama of some 100 kB in bfloat16 with a byte-level ChatML tokenizer into `folder`; return it.

    The engine serves it from `hidden` 64 on.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    model: Any = LlamaForCausalLM(config)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_tokenizer() -> Any:
    """Return a byte-level tokenizer without merges whose chat template is ChatML, as SmolLM2's is."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate([*special, *alphabet])}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        chat_template=CHATML,
        model_max_length=512,
    )
