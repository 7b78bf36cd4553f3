"""What a user left behind: their hashes, what bears their ids, and what they said, by which it is found again.

A text that others said as well names nobody and is no trace.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from thumbwheel.records import MESSAGES

LEAST = 12
"""Characters of a text or line that may stand for somebody."""
LEAST_NAME = 6
PREFIX = 60
"""Characters of a text by which it is found where it may be cut short."""
IDS = ("id", "event_id", "message_id")
SPOKEN = ("messages", "prompt")
"""Columns of messages."""
SAID = ("chosen", "rejected", "reply", "correction", "reason")
OWNED = "user|user_id|id|conversation_id|message_id|event_id"
"""Keys of a row whose value says whose it is."""
ROWS = ("row", "detail", "meta")
"""Columns that hold what a row was made from."""
TOKEN = re.compile(rb"[A-Za-z0-9_-]{3,}")


@dataclass
class Traces:
    """All that is known of a user; `exchanges` are digests of prompt and reply together."""

    raw: str
    users: frozenset[str]
    salt: bytes = b""
    """Makes the users of sources into hashes."""
    columns: frozenset[str] = frozenset()
    """Names that sources have for the column of their users, beside ours."""
    conversations: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    rows: set[str] = field(default_factory=set)
    """Ids of rows that came of a record in which they have a part, whoever else has one."""
    events: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    replies: set[str] = field(default_factory=set)
    exchanges: set[str] = field(default_factory=set)
    chat: dict[str, int] = field(default_factory=dict)
    """Records of the chat service's stores, by store."""

    @property
    def size(self) -> int:
        return len(self.conversations) + len(self.ids) + len(self.exchanges)

    def names(self) -> frozenset[bytes]:
        """Return what stands for the user wherever it is found as a word."""
        return frozenset(word.encode("utf-8", "surrogatepass") for word in self.users | self.conversations | self.ids)

    def raw_name(self) -> re.Pattern[bytes]:
        """Return what finds the user's own name as a word; a short one only where it stands as a user's."""
        names = {self.raw, json.dumps(self.raw)[1:-1], html.escape(self.raw)}
        either = b"|".join(re.escape(name.encode("utf-8", "surrogatepass")) for name in sorted(names))
        as_users = rb"""(?:%b)["']?\s*[:=]\s*["']?""" % self._keys("user|user_id").encode()
        before = rb"(?<![\w.@+-])" if len(self.raw) >= LEAST_NAME else as_users
        return re.compile(before + rb"(?:" + either + rb")(?![\w@+-])")

    def owned(self) -> str:
        """Return a pattern of the keys of a row whose value says whose it is."""
        return self._keys(OWNED)

    def _keys(self, ours: str) -> str:
        theirs = {form for column in self.columns for form in as_written(column)}
        return "|".join([ours, *(rf"(?:^|\W){re.escape(column)}" for column in sorted(theirs))])

    def passages(self) -> frozenset[bytes]:
        """Return what the user said, line by line, as it may stand in a file: plain, in JSON, in HTML."""
        lines = {line.strip()[:PREFIX] for text in self.texts for line in text.splitlines()}
        return frozenset(form for line in lines if len(line) >= LEAST for form in forms(line))

    def note(self, row: Mapping[str, Any]) -> None:
        """Take what a row of theirs tells of them."""
        self.ids |= {row[name] for name in IDS if row.get(name)}
        if row.get("event_id"):
            self.events.add(row["event_id"])
        if row.get("conversation_id"):
            self.conversations.add(row["conversation_id"])
        self.texts |= {text for text in texts_of(row) if len(text.strip()) >= LEAST}
        for reply in (row.get("reply"), row.get("rejected")):
            if reply and row.get("prompt"):
                self.replies.add(reply)
                self.exchanges.add(exchange(row["prompt"], reply))


def as_written(word: str) -> set[str]:
    """Return a word as it may stand in JSON: with its letters beyond ASCII, and with those escaped.

    A lone surrogate is escaped, or the question mark that stands for it in a table.
    """
    shown = word.encode("utf-8", "replace").decode()
    return {json.dumps(word)[1:-1], json.dumps(shown, ensure_ascii=False)[1:-1]}


def forms(text: str) -> set[bytes]:
    """Return a text as it is written in plain files, in JSON and in HTML."""
    escaped = html.escape(text)
    written = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], escaped, repr(text)[1:-1]}
    return {form.encode("utf-8", "surrogatepass") for form in written | {escaped.replace("&#x27;", "&#39;")}}


def exchange(prompt: Iterable[Mapping[str, str]], reply: str) -> str:
    """Return the digest of a prompt and the reply to it."""
    said = json.dumps([*((message["role"], message["content"]) for message in prompt), reply])
    return hashlib.sha256(said.encode()).hexdigest()


def texts_of(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was said in a row of any table."""
    for name in SPOKEN:
        yield from (message["content"] for message in row.get(name) or ())
    yield from (row[name] for name in SAID if row.get(name))


def theirs(rows: pa.Table, traces: Traces) -> pa.Array:
    """Return which rows of a table are the user's: of their hash, of their conversations, or made from such rows.

    A row that is of another user, and only says the same, is not.
    """
    found = pa.array([False] * rows.num_rows, pa.bool_())
    owned = "user" in rows.column_names and not pa.types.is_null(rows["user"].type)
    unowned = rows["user"].is_null() if owned else True
    for field_ in rows.schema:
        if pa.types.is_string(field_.type):
            found = pc.or_(found, _named(rows, field_.name, traces, unowned))
    return pc.or_(found, _exchanged(rows, traces))


def forget_common(traces: Traces, others: pa.Table) -> None:
    """Take out of the traces what rows of others say as well."""
    for name in others.column_names:
        for texts in _texts(others[name]):
            if traces.texts:
                same = pc.is_in(texts, pa.array(sorted(traces.texts), texts.type))
                traces.texts -= set(texts.filter(same).to_pylist())


def _named(rows: pa.Table, name: str, traces: Traces, unowned: Any) -> pa.ChunkedArray:
    column = rows[name]
    if name == "user":
        return _among(column, traces.users)
    if name in ("conversation_id", "message_id", "event_id"):
        return _among(column, traces.conversations | traces.ids)
    if name in ROWS:
        return _mentions(column, traces)
    named = pc.and_(_among(column, traces.ids | traces.users), unowned)
    return pc.or_(named, _among(column, traces.rows))


def _among(column: pa.ChunkedArray, words: Iterable[str]) -> pa.ChunkedArray:
    return pc.is_in(column, value_set=pa.array(sorted(words), column.type))


def _mentions(column: pa.ChunkedArray, traces: Traces) -> pa.ChunkedArray:
    """Return which texts of rows name the user as theirs; a row that was cut short or torn may be no JSON."""
    each = {form for name in (traces.raw, *traces.users, *traces.ids) for form in as_written(name)}
    names = "|".join(map(re.escape, sorted(each)))
    pattern = rf"""(?:{traces.owned()})["']?\s*[:=]\s*["']?(?:{names})(?:["',}}\s]|$)"""
    return pc.fill_null(pc.match_substring_regex(column, pattern), False)


def _exchanged(rows: pa.Table, traces: Traces) -> pa.Array:
    reply = next((name for name in ("reply", "rejected") if name in rows.column_names), None)
    if reply is None or "prompt" not in rows.column_names or not traces.replies:
        return pa.array([False] * rows.num_rows, pa.bool_())
    near = _among(rows[reply], traces.replies).to_pylist()
    places = [place for place, is_near in enumerate(near) if is_near]
    found = [False] * rows.num_rows
    for place, row in zip(
        places, rows.select(["prompt", reply]).take(pa.array(places, pa.int64())).to_pylist(), strict=True
    ):
        found[place] = exchange(row["prompt"], row[reply]) in traces.exchanges
    return pa.array(found, pa.bool_())


def _texts(column: pa.ChunkedArray) -> Iterator[pa.Array]:
    for chunk in column.chunks:
        kind = chunk.type
        if pa.types.is_string(kind):
            yield chunk
        elif pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
            yield chunk.flatten()
        elif kind == MESSAGES:
            yield chunk.flatten().field("content")
