"""Conversations on their way into a table: gathered by columns, and made a batch when they are handed on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from stages.reading.arrays import text_array, to_batch
from stages.reading.fields import moment_of, user_of, word_of
from stages.reading.identity import conversation_ids
from stages.reading.mend import LanguageParams, language_of
from stages.reading.plain import Plain
from stages.reading.sources import Source
from thumbwheel.records import CONVERSATION, MESSAGE

if TYPE_CHECKING:
    from stages.reading.columns import Columns

Said = tuple[str | None, str | None, str | None, str | None, str | None]
"""What a record says of its licence, language, topic, user and moment."""
NOTHING: Said = (None,) * 5
AT_ONCE = 128
"""Conversations that get their ids together; of so many the bytes still lie in the processor's cache."""
MENDED = ', "mended": true}'
"""How `meta` ends, behind file and row, of a row that held mojibake."""


class Chats:
    """The conversations of one file since they were last handed on."""

    def __init__(self, source: Source, file: str, salt: bytes, language: LanguageParams) -> None:
        self._source, self._salt, self._language = source, salt, language
        self._place = f'{{"file": {json.dumps(file)}, "row": '
        self._clear()

    def _clear(self) -> None:
        self._ids: list[str] = []
        self._roles: list[tuple[str, ...]] = []
        self._texts: list[str] = []
        self._contents: list[bytes] = []
        self._folded: list[bytes] = []
        self._said: list[Said] = []
        self._rows: list[int] = []
        self._ends: list[str] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, chats: Plain, records: Sequence[Mapping[str, Any]], rows: Sequence[int]) -> None:
        """Add conversations with the record that each was read from, and where it stood in the file."""
        self._roles += chats.roles
        self._texts += chats.texts if self._language.characters else []
        self._contents += chats.contents
        self._folded += chats.folded
        self._said += map(self._say, records) if chats.says_more else [NOTHING] * len(records)
        self._rows += rows
        self._ends += [MENDED if is_mended else "}" for is_mended in chats.are_mended()]
        if len(self) - len(self._ids) >= AT_ONCE:
            self._identify()

    def _identify(self) -> None:
        """Give those their ids that have none yet."""
        self._ids += conversation_ids(self._roles[len(self._ids) :], self._folded)
        self._folded.clear()

    def _say(self, record: Mapping[str, Any]) -> Said:
        return (
            word_of(record, "licence", "license"),
            word_of(record, "lang", "language"),
            word_of(record, "topic", "category"),
            user_of(record, self._salt),
            moment_of(record),
        )

    def hand_on(self) -> pa.RecordBatch:
        """Return all conversations as rows of their table, and forget them."""
        self._identify()
        licences, languages, *others = zip(*self._said, strict=True)
        columns = [
            self._ids,
            self._messages(),
            [self._source.name] * len(self),
            [licence or self._source.licence for licence in licences],
            self._languages(languages),
            *others,
            [True] * len(self),
            self._meta(pa.array(self._rows, pa.int64()), pa.array(self._ends)),
        ]
        self._clear()
        return to_batch(columns, CONVERSATION)

    def of_columns(self, columns: Columns) -> pa.RecordBatch:
        """Return conversations that were taken by whole columns as rows of their table."""
        count, source = len(columns.rows), self._source
        nothing = pa.nulls(count, pa.string())
        return to_batch(
            [
                columns.ids,
                columns.messages,
                *(pa.repeat(name, count) for name in (source.name, source.licence)),
                self._languages_of(columns),
                *[nothing] * 3,
                pa.repeat(True, count),
                self._meta(pa.array(columns.rows), "}"),
            ],
            CONVERSATION,
        )

    def _languages_of(self, columns: Columns) -> pa.Array:
        if not self._language.characters:
            return pa.repeat(self._source.lang, len(columns.rows))
        told = (language_of(texts, self._language) for texts in columns.texts())
        return pa.array([language or self._source.lang for language in told], pa.string())

    def _messages(self) -> pa.Array:
        """Return the messages as a column, by its leaves; from dictionaries it takes several times as long."""
        roles = pa.array(list(chain.from_iterable(self._roles)), pa.string())
        turns = pa.StructArray.from_arrays([roles, text_array(self._contents)], fields=list(MESSAGE))
        return pa.ListArray.from_arrays(pa.array(self._bounds(), pa.int32()), turns)

    def _bounds(self) -> list[int]:
        """Return where in all messages each conversation starts, and the last one ends."""
        return list(accumulate(map(len, self._roles), initial=0))

    def _languages(self, named: Iterable[str | None]) -> list[str]:
        """Return what each record names, else what its text tells, else what its source says."""
        default, params = self._source.lang, self._language
        if not params.characters:
            return [language or default for language in named]
        texts = (self._texts[start:end] for start, end in pairwise(self._bounds()))
        return [said or language_of(text, params) or default for said, text in zip(named, texts, strict=True)]

    def _meta(self, rows: pa.Array, ends: pa.Array | str) -> pa.Array:
        return pc.binary_join_element_wise(self._place, rows.cast(pa.string()), ends, "")
