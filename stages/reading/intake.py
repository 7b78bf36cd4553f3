"""Take in the records of one file: each becomes rows of the tables, or a row of the quarantine with its reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from stages.reading.arrays import encodable, interleaved, to_batch
from stages.reading.chats import Chats
from stages.reading.containers import Fault, Record, handfuls
from stages.reading.fields import has_consent, moment_of, user_of, users_of, word_of
from stages.reading.formats import read_record
from stages.reading.mend import LanguageParams, mend
from stages.reading.messages import UNPRINTABLE, Chat, Messages, Misfit, Pair
from stages.reading.plain import Plain, plain_chats
from stages.reading.sources import Source
from thumbwheel.folding import fold
from thumbwheel.forgotten import REASON, Forgotten
from thumbwheel.params import Params
from thumbwheel.records import CONVERSATION, PREFERENCE, QUARANTINE, preference_id

if TYPE_CHECKING:
    from stages.reading.columns import Columns, Lines

SHOWN = 10_000
"""Characters of a quarantined row that are kept."""
NOBODY = Forgotten()
BATCH_ROWS = 8192
BATCH_CHARACTERS = 4 << 20
"""Rows are handed on when there are so many of them, or of their characters."""

ORIGIN = pa.schema([("id", pa.string()), ("table", pa.string()), ("file", pa.string()), ("row", pa.int64())])
"""Where each row of the two tables stood; one id has several origins where the same row came more than once."""
SCHEMAS = {"conversations": CONVERSATION, "preferences": PREFERENCE, "quarantine": QUARANTINE, "origins": ORIGIN}

Batches = dict[str, pa.RecordBatch]


class RowParams(Params):
    """What is asked of every row."""

    max_characters: int = Field(ge=1)
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
        self.chats = Chats(source, file, self.salt, params.language)
        self.read = self.mended = 0
        self._clear()

    def _clear(self) -> None:
        self.preferences: list[tuple[Any, ...]] = []
        self.misfits: list[tuple[Any, ...]] = []
        self.pairs: list[str | None] = []
        self.rows: list[int] = []
        self.taken = self.characters = 0

    def take(self, records: Iterable[Record]) -> Iterator[Batches]:
        """Take in records and hand on their rows, batch by batch, and at the end what is left."""
        for _ in self._taking(records):
            if self.characters > BATCH_CHARACTERS or self.taken >= BATCH_ROWS:
                yield self._hand_on()
        yield self._hand_on()

    def take_lines(self, pieces: Iterable[Lines]) -> Iterator[Batches]:
        """Take in pieces of JSONL, of each whole columns of what is plain, and hand on the rows of each piece."""
        for lines in pieces:
            columns = self._columns(lines)
            self.read += len(columns.rows) if columns else 0
            for _ in self._taking(lines.records(columns.others(lines) if columns else range(len(lines.starts)))):
                pass
            yield self._hand_on(columns)

    def _columns(self, lines: Lines) -> Columns | None:
        """Return what can be taken of lines by whole columns."""
        from stages.reading.columns import plain_columns

        if self.source.kind == "preference" or not self.source.consent:
            return None
        return plain_columns(lines, self.source.format, self.params.max_characters)

    def _taking(self, records: Iterable[Record]) -> Iterator[None]:
        """Take in records, a handful at once or each by itself, and yield whenever some are in."""
        for handful in handfuls(records):
            for some in [handful] if self._accept_plain(handful) else self._one_by_one(handful):
                self.read += len(some)
                self.taken += len(some)
                yield

    def _one_by_one(self, records: Sequence[Record]) -> Iterator[Sequence[Record]]:
        """Take in each record by itself, and yield it once it is in."""
        for record in records:
            if not self._accept_plain([record]):
                self._take_one(record)
            yield [record]

    def _take_one(self, record: Record) -> None:
        try:
            for item in self._items(record):
                self._accept(item, record.row)
        except Misfit as misfit:
            self._turn_away(misfit, record)

    def _accept_plain(self, records: Sequence[Record]) -> bool:
        """Accept records that are all plainly fit; tell whether they were, and let any others be."""
        values = [record.value for record in records]
        if self.source.kind == "preference" or any(map(self._is_refused, values)):
            return False
        if (plain := plain_chats(values, self.source.format)) is None:
            return False
        agree = all(has_consent(value, self.source) for value in values) if plain.says_more else self.source.consent
        if not agree or not self._is_short(plain):
            return False
        self.mended += sum(plain.are_mended())
        self._add(plain, values, [record.row for record in records])
        return True

    def _is_short(self, chats: Plain) -> bool:
        """Tell whether no conversation is too long, nor several together more than a batch should hold."""
        if len(chats.roles) > 1 and chats.characters > BATCH_CHARACTERS:
            return False
        return chats.characters <= self.params.max_characters or chats.longest() <= self.params.max_characters

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
        if isinstance(mended, Chat):
            self._add(_columns(mended.messages, mended is not item), [mended.record], [row])
        else:
            self.characters += characters
            self.preferences.append(self._preference(mended))
            self._note(self.preferences[-1][0], [row])

    def _add(self, chats: Plain, records: Sequence[Any], rows: Sequence[int]) -> None:
        self.characters += chats.characters
        self.chats.add(chats, records, rows)
        self._note(None, rows)

    def _note(self, pair: str | None, rows: Sequence[int]) -> None:
        """Note where rows stood: a pair with its id, conversations without, for theirs comes later."""
        self.pairs += [pair] * len(rows)
        self.rows += rows

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

    def _turn_away(self, misfit: Misfit, record: Record) -> None:
        said = record.value if isinstance(record.value, Mapping) else {}
        is_shown = misfit.reason not in NAMELESS and has_consent(said, self.source)
        text = _shown(record.value) if is_shown else ""
        self.characters += len(text)
        place = (f"{self.source.name}:{self.file}", record.row)
        self.misfits.append((*place, misfit.reason, encodable(str(misfit)[:DETAIL]), text))

    def _hand_on(self, columns: Columns | None = None) -> Batches:
        """Return the rows of each table that has some, those of `columns` among them, and forget them."""
        batches: Batches = {}
        if self.chats:
            batches["conversations"] = self.chats.hand_on()
        for name, rows in (("preferences", self.preferences), ("quarantine", self.misfits)):
            if rows:
                batches[name] = to_batch(zip(*rows, strict=True), SCHEMAS[name])
        if self.rows:
            batches["origins"] = self._origins(batches)
        self._clear()
        return self._with_columns(batches, columns) if columns else batches

    def _with_columns(self, batches: Batches, columns: Columns) -> Batches:
        """Return batches with the rows of columns among theirs, in the order of the file."""
        whole = {"conversations": self.chats.of_columns(columns), "origins": self._origins_of(columns)}
        if "origins" not in batches:
            return {**batches, **whole}
        rows, tables = (batches["origins"][name] for name in ("row", "table"))
        places = {"origins": rows, "conversations": rows.filter(pc.equal(tables, "conversations"))}
        mixed = {
            name: interleaved(batches[name], places[name], batch, columns.rows) if name in batches else batch
            for name, batch in whole.items()
        }
        return {**batches, **mixed}

    def _origins(self, batches: Batches) -> pa.RecordBatch:
        """Return where rows came from; a conversation's id has come only now, with those of the whole batch."""
        waiting = iter(batches["conversations"]["id"].to_pylist() if "conversations" in batches else ())
        ids = [pair or next(waiting) for pair in self.pairs]
        tables = ["preferences" if pair else "conversations" for pair in self.pairs]
        return to_batch([ids, tables, [self.file] * len(ids), self.rows], ORIGIN)

    def _origins_of(self, columns: Columns) -> pa.RecordBatch:
        count = len(columns.rows)
        tables, files = (pa.repeat(value, count) for value in ("conversations", self.file))
        return to_batch([columns.ids, tables, files, pa.array(columns.rows)], ORIGIN)


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


def _columns(messages: Messages, is_mended: bool) -> Plain:
    """Return one conversation by columns."""
    roles, texts = (tuple([message[name] for message in messages]) for name in ("role", "content"))
    contents, folded = list(map(str.encode, texts)), list(map(fold, texts))
    return Plain([roles], list(texts), contents, folded, [is_mended] * len(texts), says_more=True)


def _with_contents(messages: Messages, contents: list[str]) -> Messages:
    return [{"role": m["role"], "content": content} for m, content in zip(messages, contents, strict=True)]


def _characters(item: Chat | Pair) -> int:
    if isinstance(item, Pair):
        return sum([len(m["content"]) for m in item.prompt]) + max(len(item.chosen), len(item.rejected))
    return sum([len(message["content"]) for message in item.messages])


def _shown(value: Any) -> str:
    try:
        text = value.text if isinstance(value, Fault) else json.dumps(value, ensure_ascii=False, default=str)
    except (RecursionError, ValueError, TypeError) as error:
        text = f"(a row that cannot be shown: {error})"
    return encodable(text[:SHOWN])
