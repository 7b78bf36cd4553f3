"""Take in the records of one file: each becomes rows of the tables, or a row of the quarantine with its reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from stages.reading.containers import Fault, Record
from stages.reading.fields import has_consent, moment_of, user_of, users_of, word_of
from stages.reading.formats import read_record
from stages.reading.identity import conversation_ids
from stages.reading.mend import LanguageParams, language_of, mend
from stages.reading.messages import UNPRINTABLE, Chat, Messages, Misfit, Pair
from stages.reading.plain import Plain, plain_chat
from stages.reading.sources import Source
from thumbwheel.forgotten import REASON, Forgotten
from thumbwheel.params import Params
from thumbwheel.records import (
    CONVERSATION,
    MESSAGE,
    MESSAGES,
    PREFERENCE,
    QUARANTINE,
    fold,
    preference_id,
)

SHOWN = 10_000
"""Characters of a quarantined row that are kept."""
NOBODY = Forgotten()
MENDED = ', "mended": true'
"""What `meta` says, beside file and row, of a row that held mojibake."""
LANG = 3
"""Which column of a conversation's row is its language, before its id stands in front."""
BATCH_ROWS = 8192
BATCH_CHARACTERS = 4 << 20
"""Rows are handed on when there are so many of them, or of their characters."""

ORIGIN = pa.schema([("id", pa.string()), ("table", pa.string()), ("file", pa.string()), ("row", pa.int64())])
"""Where each row of the two tables stood; one id has several origins where the same row came more than once."""
SCHEMAS = {"conversations": CONVERSATION, "preferences": PREFERENCE, "quarantine": QUARANTINE, "origins": ORIGIN}

Batches = dict[str, pa.RecordBatch]


class RowParams(Params):
    """What is asked of every row."""

    max_characters: int
    """Of all messages of a row together."""
    user_salt: str
    """Turns the users of a source into pseudonyms."""
    language: LanguageParams


NAMELESS = ("no_consent", REASON)
"""Reasons for which a row is turned away without its text being kept."""
DETAIL = 500
"""Characters of what is said of a misfit that are kept; it may quote the row."""


class Intake:
    """The rows of one file since they were last handed on; `read` records in all, `mended` rows among them."""

    def __init__(self, source: Source, file: str, params: RowParams, refused: Forgotten = NOBODY) -> None:
        self.source, self.file, self.params, self.refused = source, file, params, refused
        self.salt = params.user_salt.encode()
        self.place = f'{{"file": {json.dumps(file)}, "row": '
        self.rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in SCHEMAS}
        self.folded: list[list[bytes]] = []
        self.read = self.mended = self.characters = 0

    def take(self, records: Iterable[Record]) -> Iterator[Batches]:
        """Take in records and hand on their rows, batch by batch, and at the end what is left."""
        for record in records:
            self.read += 1
            if not self._accept_plain(record):
                self._take_one(record)
            if self.characters > BATCH_CHARACTERS or self.read % BATCH_ROWS == 0:
                yield self._hand_on()
        yield self._hand_on()

    def _take_one(self, record: Record) -> None:
        try:
            for item in self._items(record):
                self._accept(item, record.row)
        except Misfit as misfit:
            self._turn_away(misfit, record)

    def _accept_plain(self, record: Record) -> bool:
        """Accept a record that is plainly fit; tell whether it was, and let any other be."""
        if self.source.kind == "preference" or self._is_refused(record.value):
            return False
        if (plain := plain_chat(record.value, self.source.format)) is None or not has_consent(
            plain.record, self.source
        ):
            return False
        if (characters := _characters(plain)) > self.params.max_characters:
            return False
        self.characters += characters
        self._add_chat(plain, plain.folded, record.row, False)
        return True

    def _items(self, record: Record) -> Iterator[Chat | Pair]:
        if isinstance(record.value, Fault):
            raise Misfit(record.value.reason, record.value.detail)
        if self._is_refused(record.value):
            raise Misfit(REASON, "the row, or a message of it, is of a user who was forgotten")
        if isinstance(record.value, Mapping) and not has_consent(record.value, self.source):
            raise Misfit("no_consent", "the row's owner did not agree")
        found = False
        for item in read_record(record.value, self.source.format):
            if self.source.kind == "both" or (self.source.kind == "conversation") == isinstance(item, Chat):
                found = True
                yield item
        if not found:
            raise Misfit("shape", f"there is no {self.source.kind} in it")

    def _is_refused(self, value: Any) -> bool:
        return bool(self.refused.marks) and any(map(self.refused.holds, users_of(value, self.salt)))

    def _accept(self, item: Chat | Pair, row: int) -> None:
        mended = mended_item(item)
        self.mended += mended is not item
        if (characters := _characters(mended)) > self.params.max_characters:
            raise Misfit("too_long", f"{characters} characters, over {self.params.max_characters}")
        self.characters += characters
        if isinstance(mended, Chat):
            folded = [fold(message["content"]) for message in mended.messages]
            self._add_chat(mended, folded, row, mended is not item)
        else:
            accepted = self._preference(mended)
            self.rows["preferences"].append(accepted)
            self.rows["origins"].append((accepted[0], "preferences", self.file, row))

    def _add_chat(self, chat: Chat | Plain, folded: list[bytes], row: int, is_mended: bool) -> None:
        self.folded.append(folded)
        self.rows["conversations"].append(self._conversation(chat, row, is_mended))
        self.rows["origins"].append((None, "conversations", self.file, row))

    def _conversation(self, chat: Chat | Plain, row: int, is_mended: bool) -> tuple[Any, ...]:
        """Return a conversation's columns but its id; that comes, with a language not said, once it is handed on."""
        said, source = chat.record, self.source
        return (
            chat.messages,
            source.name,
            (said and word_of(said, "licence", "license")) or source.licence,
            word_of(said, "lang", "language") if said else None,
            word_of(said, "topic", "category") if said else None,
            user_of(said, self.salt) if said else None,
            moment_of(said) if said else None,
            True,
            f"{self.place}{row}{MENDED if is_mended else ''}}}",
        )

    def _preference(self, pair: Pair) -> tuple[Any, ...]:
        said, source = pair.record, self.source
        objective = word_of(said, "objective")
        return (
            preference_id(pair.prompt, pair.chosen, pair.rejected),
            pair.prompt,
            pair.chosen,
            pair.rejected,
            "public",
            objective if objective in ("helpful", "safe") else source.objective,
            1.0,
            user_of(said, self.salt),
            word_of(said, "model"),
            moment_of(said),
            source.name,
            word_of(said, "licence", "license") or source.licence,
        )

    def _language(self, messages: Messages) -> str:
        if not self.params.language.characters:
            return self.source.lang
        return language_of([message["content"] for message in messages], self.params.language) or self.source.lang

    def _turn_away(self, misfit: Misfit, record: Record) -> None:
        said = record.value if isinstance(record.value, Mapping) else {}
        is_shown = misfit.reason not in NAMELESS and has_consent(said, self.source)
        text = _shown(record.value) if is_shown else ""
        self.characters += len(text)
        place = (f"{self.source.name}:{self.file}", record.row)
        self.rows["quarantine"].append((*place, misfit.reason, _encodable(str(misfit)[:DETAIL]), text))

    def _hand_on(self) -> Batches:
        batches = {name: to_batch(columns, SCHEMAS[name]) for name, columns in self._columns().items()}
        self.rows = {name: [] for name in SCHEMAS}
        self.folded = []
        self.characters = 0
        return batches

    def _columns(self) -> dict[str, list[Sequence[Any]]]:
        """Return the rows of each table that has some by columns, with the ids and languages that were put off.

        What tells a language, or squeezes texts for their ids, is fast only while it is asked again and again.
        """
        columns: dict[str, list[Sequence[Any]]]
        columns = {name: list(zip(*rows, strict=True)) for name, rows in self.rows.items() if rows}
        if chats := columns.get("conversations"):
            ids = conversation_ids(chats[0], self.folded)
            waiting = iter(ids)
            chats[LANG] = [lang or self._language(chat) for lang, chat in zip(chats[LANG], chats[0], strict=True)]
            chats.insert(0, ids)
            columns["origins"][0] = [id or next(waiting) for id in columns["origins"][0]]
        return columns


def mended_item(item: Chat | Pair) -> Chat | Pair:
    """Return an item with its mojibake mended; the very same one where there is none.

    Raises:
        Misfit: mended, it would be no row of ours any more.
    """
    texts = [m["content"] for m in (item.messages if isinstance(item, Chat) else item.prompt)]
    texts += [] if isinstance(item, Chat) else [item.chosen, item.rejected]
    if "".join(texts).isascii() or (mended := [mend(text) for text in texts]) == texts:
        return item
    if any(match := UNPRINTABLE.search(text) for text in mended):
        raise Misfit("encoding", f"mojibake that cannot be mended: it holds U+{ord(match.group()):04X}")  # type: ignore[union-attr]
    if isinstance(item, Chat):
        return item._replace(messages=_with_contents(item.messages, mended))
    *prompt, chosen, rejected = mended
    if chosen.strip() == rejected.strip():
        raise Misfit("identical", "chosen and rejected are the same once their encoding is mended")
    return item._replace(prompt=_with_contents(item.prompt, prompt), chosen=chosen, rejected=rejected)


def to_batch(columns: Iterable[Sequence[Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Return columns in the order of `schema` as one batch."""
    arrays = [_array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.record_batch(arrays, schema=schema)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if kind == MESSAGES:
        return _messages_array(values)
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return pa.array([_encodable(value) for value in values], kind)


def _messages_array(conversations: Iterable[Messages]) -> pa.Array:
    """Return conversations as a column; by its leaves, for from dictionaries it takes three times as long."""
    ends, end = [0], 0
    for messages in conversations:
        end += len(messages)
        ends.append(end)
    flat = list(chain.from_iterable(conversations))
    leaves = [pa.array([message[name] for message in flat], pa.string()) for name in ("role", "content")]
    return pa.ListArray.from_arrays(
        pa.array(ends, pa.int32()), pa.StructArray.from_arrays(leaves, fields=list(MESSAGE))
    )


def _with_contents(messages: Messages, contents: list[str]) -> Messages:
    return [{"role": m["role"], "content": content} for m, content in zip(messages, contents, strict=True)]


def _characters(item: Chat | Plain | Pair) -> int:
    if isinstance(item, Pair):
        return sum([len(m["content"]) for m in item.prompt]) + max(len(item.chosen), len(item.rejected))
    return sum([len(message["content"]) for message in item.messages])


def _shown(value: Any) -> str:
    try:
        text = value.text if isinstance(value, Fault) else json.dumps(value, ensure_ascii=False, default=str)
    except (RecursionError, ValueError, TypeError) as error:
        text = f"(a row that cannot be shown: {error})"
    return _encodable(text[:SHOWN])


def _encodable(text: Any) -> Any:
    return text.encode("utf-8", "replace").decode() if isinstance(text, str) else text
