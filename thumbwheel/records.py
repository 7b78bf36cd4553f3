"""The Arrow schemas of every table, in one place, and the identity of a row.

Version 1. A change of a schema is a new version and a note in ARCHITECTURE.md.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import pyarrow as pa

from thumbwheel.errors import RecordError
from thumbwheel.folding import normalised

VERSION = 1
ROLES = ("system", "user", "assistant")

MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
MESSAGES = pa.list_(MESSAGE)

CONVERSATION = pa.schema(
    [
        ("id", pa.string()),
        ("messages", MESSAGES),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("lang", pa.string()),
        ("topic", pa.string()),
        ("user", pa.string()),
        ("created_at", pa.string()),
        ("consent", pa.bool_()),
        ("meta", pa.string()),
    ]
)
"""`id` hashes the normalised messages; `user` is a keyed hash; `created_at` is ISO 8601; `meta` is a JSON object."""

PREFERENCE = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", MESSAGES),
        ("chosen", pa.string()),
        ("rejected", pa.string()),
        ("origin", pa.string()),
        ("objective", pa.string()),
        ("weight", pa.float64()),
        ("user", pa.string()),
        ("model", pa.string()),
        ("created_at", pa.string()),
        ("source", pa.string()),
        ("licence", pa.string()),
    ]
)
Origin = Literal["edit", "regeneration", "review", "best_of_n", "public"]
ORIGINS: tuple[Origin, ...] = get_args(Origin)
Objective = Literal["helpful", "safe"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)

THUMB = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", MESSAGES),
        ("reply", pa.string()),
        ("liked", pa.bool_()),
        ("user", pa.string()),
        ("model", pa.string()),
        ("created_at", pa.string()),
    ]
)
"""A reply that was liked or not, for which there is no other to compare it with."""
SPAN = pa.struct([("start", pa.int64()), ("end", pa.int64()), ("label", pa.string())])
SPAN_LABELS = ("wrong", "toxic")
FEEDBACK = pa.schema(
    [
        ("event_id", pa.string()),
        ("conversation_id", pa.string()),
        ("message_id", pa.string()),
        ("user", pa.string()),
        ("kind", pa.string()),
        ("rating", pa.string()),
        ("reason", pa.string()),
        ("correction", pa.string()),
        ("prompt", MESSAGES),
        ("reply", pa.string()),
        ("replaces", pa.string()),
        ("model", pa.string()),
        ("arm", pa.string()),
        ("consent", pa.bool_()),
        ("created_at", pa.string()),
        ("spans", pa.list_(SPAN)),
        ("tools", pa.string()),
    ]
)
"""`prompt` and `reply` are what the user saw, byte for byte; `replaces` is the message a regeneration replaces. A span
of `spans` are the characters `start` to `end` (not included) of the reply, in Unicode code points, marked as `label`;
tables of before there were spans lack the column. `tools` is null but where tools had a part in a reply: JSON of the
whole prompt with calls and their results, of the reply's own calls, and of the tools that were offered; older tables
lack it, too."""
FEEDBACK_KINDS = ("rating", "edit", "regeneration", "review", "comparison")
"""`review` and `comparison` are a reviewer's: on a disliked reply, or on the answers of two releases to a question."""
ELSEWHERE, ADAPTED = "elsewhere/", "+"
"""Marks in a reply's `model`: it begins with the first where another engine than the release's wrote it, and holds the
second, before the adapter's name, where the release wrote it under an adapter."""

QUEUED = pa.schema(
    [
        ("id", pa.string()),
        ("conversation_id", pa.string()),
        ("message_id", pa.string()),
        ("user", pa.string()),
        ("prompt", MESSAGES),
        ("reply", pa.string()),
        ("other", pa.string()),
        ("spans", pa.list_(SPAN)),
        ("reasons", pa.list_(pa.string())),
        ("dislikes", pa.int64()),
        ("doubt", pa.float64()),
        ("model", pa.string()),
        ("arm", pa.string()),
        ("created_at", pa.string()),
    ]
)
"""A disliked reply that nothing has bettered, for reviewers: `other` is what it may be compared with, or null; `doubt`
from 0 to 1 how little the judge could tell; `dislikes` how many users disliked this reply to this prompt."""

QUARANTINE = pa.schema(
    [
        ("source", pa.string()),
        ("line", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("row", pa.string()),
    ]
)
"""Rows that did not fit: where they stood, the named reason, and the row itself, cut at 10,000 characters."""

QUESTION = pa.schema(
    [
        ("set", pa.string()),
        ("kind", pa.string()),
        ("id", pa.string()),
        ("category", pa.string()),
        ("turns", pa.list_(pa.string())),
        ("reference", pa.list_(pa.string())),
        ("context", pa.list_(pa.string())),
        ("a", pa.string()),
        ("b", pa.string()),
        ("label", pa.string()),
    ]
)
"""`turns` are the user's messages, `reference` an answer a turn (or empty), `context` the documents that hold the
answer; `a`, `b` and `label` are for the judge's trial only."""

ANSWER = pa.schema(
    [
        ("set", pa.string()),
        ("question", pa.string()),
        ("side", pa.string()),
        ("bundle", pa.string()),
        ("replies", pa.list_(pa.string())),
        ("finish", pa.list_(pa.string())),
        ("tokens", pa.int64()),
        ("seconds", pa.float64()),
        ("error", pa.string()),
    ]
)
"""One row a question and side (`candidate`, `champion`); `error` is set, `replies` short, where the engine failed."""
SIDES = ("candidate", "champion")

VERDICT = pa.schema(
    [
        ("kind", pa.string()),
        ("set", pa.string()),
        ("question", pa.string()),
        ("turn", pa.int64()),
        ("side", pa.string()),
        ("order", pa.string()),
        ("winner", pa.string()),
        ("score", pa.float64()),
        ("error", pa.string()),
        ("judge", pa.string()),
        ("prompt", pa.string()),
    ]
)
"""`kind` is `pairwise` (with `order` `ab` or `ba`, `winner` `candidate`, `champion` or `tie`, `score` the probability
that the candidate is better), `single` (`side`, `score` 1 to 10), `rubric_faithfulness`, `rubric_relevance` or
`rubric_tone` (`side`, `score` 1 to 5), `human` (`winner`, `score`; `judge` is the rater) or `trial`. A failed verdict
has `error`, no score."""

RESULT = pa.schema(
    [
        ("metric", pa.string()),
        ("set", pa.string()),
        ("question", pa.string()),
        ("side", pa.string()),
        ("value", pa.float64()),
        ("error", pa.string()),
    ]
)
"""One measurement of a benchmark: a metric on one question (or conversation) and side. A failed one has `error`, no
value."""


def conversation_id(messages: Iterable[Mapping[str, str]]) -> str:
    """Return the SHA-256, in hex, of the normalised messages."""
    parts: list[bytes] = []
    for message in messages:
        parts += (message["role"].encode("utf-8", "surrogatepass"), normalised(message["content"]))
    return _digest(parts)


def preference_id(prompt: Iterable[Mapping[str, str]], chosen: str, rejected: str) -> str:
    """Return the SHA-256, in hex, of a pair: its prompt and both replies, byte for byte."""
    parts = [part for message in prompt for part in (message["role"], message["content"])]
    return _digest([part.encode("utf-8", "surrogatepass") for part in (*parts, chosen, rejected)])


def is_release(model: str) -> bool:
    """Tell whether a release by itself wrote what carries this name: no other engine, and no adapter over it."""
    return not model.startswith(ELSEWHERE) and ADAPTED not in model


def user_hash(raw_user: str, key: bytes) -> str:
    """Return the keyed hash (HMAC-SHA-256, 16 hex digits) that stands for a user everywhere."""
    return "u-" + hmac.new(key, raw_user.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:16]


def to_table(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return rows as a table of exactly `schema`; a field that a row lacks is null.

    Raises:
        RecordError: a row has a field that the schema lacks, or a value of another type.
    """
    rows = list(rows)
    for row in rows:
        if extra := set(row) - set(schema.names):
            raise RecordError(f"fields {sorted(extra)} are not in the schema ({', '.join(schema.names)}).")
    try:
        return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise RecordError(f"a row does not fit the schema: {error}") from None


def _digest(parts: Iterable[bytes]) -> str:
    pieces: list[bytes] = []
    for part in parts:
        pieces += (len(part).to_bytes(8, "big"), part)
    return hashlib.sha256(b"".join(pieces)).hexdigest()
