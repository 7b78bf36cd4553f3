"""Ask the evaluation questions of the candidate and of the champion, each served by the engine as it would be served.

    python -m stages.answer

Two-turn questions feed a model its own first reply; questions with documents are asked by one fixed grounded template.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from pydantic import Field

from thumbwheel import tracking
from thumbwheel.bundle import bundle_hash
from thumbwheel.command import run
from thumbwheel.engine import running_engine
from thumbwheel.errors import EngineError, SourceError
from thumbwheel.grounding import render
from thumbwheel.lake import Pin, read_pinned, write_pin, write_table
from thumbwheel.params import Params, load_params
from thumbwheel.records import ANSWER, SIDES, to_table
from thumbwheel.settings import settings

log = logging.getLogger(__name__)

NAME = "answering"
"""The name under which a bundle is served for the length of this stage."""
PROGRESS_SECONDS = 15.0

Row = Mapping[str, Any]


class SetParams(Params):
    """How much of a question set is asked, and how long a reply may get."""

    max_questions: int = Field(ge=1)
    max_tokens: int = Field(ge=1)


class AnswerParams(Params):
    """Which sets are asked and how; greedy decoding, so that a question has one answer."""

    sets: dict[str, SetParams]
    seed: int
    max_length: int = Field(ge=1)
    max_context_characters: int = Field(ge=0)
    concurrency: int = Field(ge=1)
    timeout_seconds: float = Field(gt=0)


def main() -> None:
    params = load_params("answer", AnswerParams)
    questions = choose(read_pinned("pose", "questions").to_pylist(), params)
    bundles = {"candidate": settings().models / "served", "champion": champion_folder()}
    with tracking.stage_run("answer", params) as stage:
        hashes = {side: bundle_hash(folder) for side, folder in bundles.items()}
        rows, seconds = answer_both(questions, bundles, hashes, params)
        table = write_table("answer.answers", to_table(rows, ANSWER))
        failed = sum(row["error"] is not None for row in rows)
        stage.metrics({"questions": len(questions), "failed": failed, "tokens": sum(row["tokens"] for row in rows)})
        stage.metrics({f"{side}_seconds": value for side, value in seconds.items()})
        facts = {"bundles": hashes, "asked": count_by(questions, "set"), "failed": failed}
        write_pin(Pin(stage="answer", tables={"answers": table}, facts=facts))
    log.info("answered %d questions on each side, %d replies failed", len(questions), failed)


def champion_folder() -> Path:
    """Return the folder of the champion's bundle, as `data/inputs/champion.json` names it.

    Raises:
        SourceError: the file is missing or damaged.
    """
    path = settings().inputs / "champion.json"
    try:
        return settings().root / str(json.loads(path.read_text())["path"])
    except FileNotFoundError:
        raise SourceError(f"{path} is missing; write it with: python -m stages.challenge.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{path} is damaged ({error}); write it with: python -m stages.challenge.") from None


def choose(questions: Sequence[Row], params: AnswerParams) -> list[Row]:
    """Return the questions to ask: of each set, the first `max_questions` by a seeded hash of their id, set by set.

    Raises:
        SourceError: a set that the parameters name holds no question.
    """
    chosen: list[Row] = []
    for name, wanted in params.sets.items():
        members = [question for question in questions if question["set"] == name]
        if not members:
            known = ", ".join(sorted({str(question["set"]) for question in questions})) or "none"
            raise SourceError(f"answer.sets names '{name}', which has no questions; there are: {known}.")
        members.sort(key=lambda question: rank(params.seed, str(question["id"])))
        chosen += sorted(members[: wanted.max_questions], key=lambda question: str(question["id"]))
    return chosen


def rank(seed: int, question: str) -> str:
    """Return the place of a question in the sampling order; a longer sample holds every shorter one."""
    return hashlib.sha256(f"{seed}:{question}".encode()).hexdigest()


def answer_both(
    questions: Sequence[Row], bundles: Mapping[str, Path], hashes: Mapping[str, str], params: AnswerParams
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Return the answers of both sides and the seconds that each took; equal bundles answer once."""
    rows: list[dict[str, Any]] = []
    seconds: dict[str, float] = {}
    for side in SIDES:
        if side == "champion" and hashes["champion"] == hashes["candidate"]:
            rows += [{**row, "side": "champion"} for row in rows]
            continue
        began = time.monotonic()
        logs = settings().state_dir / "logs" / f"answer-{side}.log"
        with running_engine(bundles[side], NAME, params.max_length, logs) as url:
            rows += asyncio.run(answer_all(url, questions, side, hashes[side], params))
        seconds[side] = time.monotonic() - began
    return rows, seconds


async def answer_all(
    url: str, questions: Sequence[Row], side: str, bundle: str, params: AnswerParams
) -> list[dict[str, Any]]:
    """Ask one engine all questions, `concurrency` at a time; the rows are in the order of the questions."""
    gate, tick = asyncio.Semaphore(params.concurrency), progress(side, len(questions))

    async with httpx.AsyncClient(base_url=url, timeout=params.timeout_seconds) as client:

        async def one(question: Row) -> dict[str, Any]:
            async with gate:
                row = await answer_question(client, question, params)
            tick()
            return {"side": side, "bundle": bundle, **row}

        return list(await asyncio.gather(*map(one, questions)))


async def answer_question(client: httpx.AsyncClient, question: Row, params: AnswerParams) -> dict[str, Any]:
    """Return the row of one question, turn by turn; a failed turn ends it and is recorded as `error`."""
    limit = params.sets[question["set"]].max_tokens
    messages: list[dict[str, str]] = []
    row: dict[str, Any] = {
        "set": question["set"],
        "question": question["id"],
        "replies": [],
        "finish": [],
        "tokens": 0,
        "seconds": 0.0,
        "error": None,
    }
    for text in prompts(question, params.max_context_characters):
        messages.append({"role": "user", "content": text})
        body = {"model": NAME, "messages": messages, "max_tokens": limit, "temperature": 0}
        try:
            reply = await complete(client, body)
        except httpx.ConnectError as error:
            raise EngineError(f"the engine went away while it answered ({error}); see .thumbwheel/logs.") from None
        except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
            row["error"] = f"{type(error).__name__}: {error}"[:300]
            break
        row["replies"].append(reply["text"])
        row["finish"].append(reply["finish"])
        row["tokens"] += reply["tokens"]
        messages.append({"role": "assistant", "content": reply["text"]})
    return row


async def complete(client: httpx.AsyncClient, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return `text`, `finish` and `tokens` of one chat completion; an error status raises `ValueError`."""
    response = await client.post("/chat/completions", json=body)
    if response.status_code != 200:
        raise ValueError(f"status {response.status_code}: {' '.join(response.text.split())[:200]}")
    document = response.json()
    choice = document["choices"][0]
    return {
        "text": choice["message"]["content"] or "",
        "finish": choice["finish_reason"],
        "tokens": document["usage"]["completion_tokens"],
    }


def prompts(question: Row, max_context_characters: int) -> list[str]:
    """Return what the user says, turn by turn; a question with documents is set into the grounded template."""
    turns = [str(turn) for turn in question["turns"]]
    if not (context := [str(document) for document in question["context"] or []]):
        return turns
    return [render(turns[0], context, max_context_characters), *turns[1:]]


def progress(side: str, total: int) -> Callable[[], None]:
    """Return a function to call after each question; it logs a line now and then."""
    done, last = 0, time.monotonic()

    def tick() -> None:
        nonlocal done, last
        done += 1
        if done == total or time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            log.info("%s: %d of %d questions answered", side, done, total)

    return tick


def count_by(rows: Sequence[Row], key: str) -> dict[str, int]:
    """Return how many rows there are for each value of a field."""
    values = [str(row[key]) for row in rows]
    return {value: values.count(value) for value in sorted(set(values))}


if __name__ == "__main__":
    run(main)
