"""Plain records, told at a glance: of the common shapes, and text through and through.

Most records are. They are looked at a handful at a time, column by column: all of a handful are plain, or what is not
is left to `stages.reading.formats`, which names what is wrong; so nothing here turns a record away, and what is taken
here is what would have been taken there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, chain, pairwise
from operator import itemgetter
from typing import Any, NamedTuple

from stages.reading.formats import ANSWER_KEYS, PROMPT_KEYS, shape_of
from stages.reading.identity import MARK, MARKED
from stages.reading.mend import are_suspicious, mend
from stages.reading.messages import SENDERS, TURNS, UNPRINTABLE, Misfit
from thumbwheel.folding import BLANKED, LONG_RUN, MANY_RUNS, Changes, fold, folded_runs, replaced

REPLACEMENT = "\ufffd"
FRAME = b"### Response:"
"""How the end of Alpaca's frame begins."""
TOLD = {"licence", "license", "lang", "language", "topic", "category", "consent"}
TOLD |= {"user", "user_id", "created_at", "created_date", "timestamp"}
"""Keys under which a record says more of itself than its messages."""

Roles = tuple[str, ...]
Record = Mapping[str, Any]


class Plain(NamedTuple):
    """Conversations by columns: the roles of each, then the contents of all in a row, as text, as UTF-8, and folded."""

    roles: list[Roles]
    texts: list[str]
    contents: list[bytes]
    folded: list[bytes]
    mended: list[bool]
    """Of each content, whether it held mojibake."""
    says_more: bool
    """Of all records alike, whether they say more than their messages."""

    @property
    def characters(self) -> int:
        return sum(map(len, self.texts))

    def longest(self) -> int:
        """Return the characters of the longest conversation."""
        said = [0, *accumulate(map(len, self.texts))]
        return max(said[end] - said[start] for start, end in self._bounds())

    def are_mended(self) -> list[bool]:
        """Tell of each conversation whether it held mojibake."""
        if not any(self.mended):
            return [False] * len(self.roles)
        return [any(self.mended[start:end]) for start, end in self._bounds()]

    def _bounds(self) -> Iterator[tuple[int, int]]:
        return pairwise(accumulate(map(len, self.roles), initial=0))


def plain_chats(records: Sequence[Any], format: str) -> Plain | None:
    """Return the conversations of records that are all plain and of the same keys, one a record; None of any others.

    `format` is what `formats.read_record` takes.
    """
    if not {dict}.issuperset(map(type, records)) or len(keys := set(map(tuple, records))) != 1:
        return None
    reader, says_more = reader_of(keys.pop(), format)
    if reader is None or (read := reader(records)) is None:
        return None
    roles, texts = read
    if not all(texts) or any(map(str.isspace, texts)):
        return None
    try:
        chats = Plain(roles, texts, list(map(str.encode, texts)), [], [False] * len(texts), says_more)
    except UnicodeEncodeError:
        return None
    chats.folded.extend([content.translate(MARKED) for content in chats.contents])
    if MARK in b"".join(chats.folded):
        return None
    foreign = (place for place, text in enumerate(texts) if not text.isascii())
    return chats if all(_take_foreign(chats, place) for place in foreign) else None


def _take_foreign(chats: Plain, place: int) -> bool:
    """Mend and fold a text beyond ASCII, which was folded as if it were; tell whether it is plain."""
    text = chats.texts[place]
    if REPLACEMENT in text:
        return False
    runs = frozenset(chats.contents[place].translate(BLANKED).split())
    is_western = len(runs) <= MANY_RUNS and max(map(len, runs)) <= LONG_RUN
    is_sound, changes = _nature(runs) if is_western else (False, None)
    if not is_sound and (mended := mend(text)) != text:
        if UNPRINTABLE.search(mended):
            return False
        text, changes = mended, None
        chats.texts[place], chats.contents[place], chats.mended[place] = mended, mended.encode(), True
    chats.folded[place] = fold(text, MARKED) if changes is None else replaced(chats.folded[place], changes)
    return True


@lru_cache(1 << 13)
def _nature(runs: frozenset[bytes]) -> tuple[bool, Changes | None]:
    """Tell of a text with these runs of characters beyond ASCII whether it can hold no mojibake, and how it folds.

    The same few runs come together again and again.
    """
    return not are_suspicious(runs), folded_runs(runs)


Reader = Callable[[Sequence[Record]], tuple[list[Roles], list[str]] | None]


@lru_cache(1024)
def reader_of(keys: tuple[Any, ...], format: str) -> tuple[Reader | None, bool]:
    """Return what reads the roles and texts of records with these keys, if they may be plain; and if they say more."""
    return _reader_of(keys, format), not TOLD.isdisjoint(keys)


def _reader_of(keys: tuple[Any, ...], format: str) -> Reader | None:
    if (listed := listed_of(keys, format)) is not None:
        return _listed(listed)
    turn = turn_of(keys, format)
    return None if turn is None else _turn(turn)


def _shape_of(keys: tuple[Any, ...], format: str) -> str | None:
    """Return the shape of records with these keys, if they may be plain."""
    if "system" in keys:
        return None
    try:
        return shape_of(dict.fromkeys(keys)) if format == "auto" else format
    except Misfit:
        return None


class Turn(NamedTuple):
    """The keys under which one turn stands; it is not plain where something stands under `more`."""

    asked: str
    answered: str
    more: tuple[str, ...] = ()


def turn_of(keys: tuple[Any, ...], format: str) -> Turn | None:
    """Return where the turn of records with these keys stands, if they may be plain and are of one turn."""
    shape = _shape_of(keys, format)
    more: tuple[str, ...] = ()
    if shape == "prompt_completion" and "label" not in keys:
        asked, answered = _first(keys, PROMPT_KEYS), _first(keys, ANSWER_KEYS)
    elif shape == "alpaca":
        asked, answered = _first(keys, ("instruction",)), _first(keys, ("output", "response"))
        more = tuple(name for name in ("input", "context", "history") if name in keys)
    else:
        return None
    return None if asked is None or answered is None else Turn(asked, answered, more)


class Listed(NamedTuple):
    """The key under which messages stand in a list, those of a message's sender and content, and roles by senders."""

    name: str
    sender: str
    content: str
    senders: Mapping[str, str]


def listed_of(keys: tuple[Any, ...], format: str) -> Listed | None:
    """Return where the messages of records with these keys stand, if they may be plain and are in a list."""
    shape = _shape_of(keys, format)
    if shape == "messages":
        return Listed("messages", "role", "content", {role: role for role in ("system", *TURNS)})
    if shape == "sharegpt":
        return Listed("conversations" if "conversations" in keys else "conversation", "from", "value", SENDERS)
    return None


def _first(keys: Sequence[Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in keys), None)


def _turn(turn: Turn) -> Reader:
    """Return what reads one turn."""
    both = itemgetter(turn.asked, turn.answered)

    def read(records: Sequence[Record]) -> tuple[list[Roles], list[str]] | None:
        texts = list(chain.from_iterable(map(both, records)))
        if not {str}.issuperset(map(type, texts)) or any(map(_is_framed, texts[::2])):
            return None
        if any(any(map(itemgetter(name), records)) for name in turn.more):
            return None
        return [TURNS] * len(records), texts

    return read


def _is_framed(prompt: str) -> bool:
    """Tell whether a prompt may be more than it says: a list as text, or Alpaca's frame."""
    return "### Response:" in prompt or prompt.lstrip()[:1] == "["


def _listed(listed: Listed) -> Reader:
    """Return what reads messages from a list."""
    name, sender, content, senders = listed

    def read(records: Sequence[Record]) -> tuple[list[Roles], list[str]] | None:
        lists: list[Any] = [record.get(name) for record in records]
        if not {list}.issuperset(map(type, lists)) or not {dict}.issuperset(map(type, chain.from_iterable(lists))):
            return None
        said = [tuple([turn.get(sender) for turn in turns]) for turns in lists]
        texts = [turn.get(content) for turns in lists for turn in turns]
        if not {str}.issuperset(map(type, chain(texts, *said))):
            return None
        roles = [tuple([senders.get(role, "") for role in each]) for each in said]
        return (roles, texts) if all(map(in_turn, roles)) else None

    return read


@lru_cache(256)
def in_turn(roles: Roles) -> bool:
    """Tell whether roles are the user's and the assistant's in turn, a system's perhaps before, and end on a reply."""
    turns = roles[1:] if roles[:1] == ("system",) else roles
    return len(turns) > 0 and len(turns) % 2 == 0 and turns == TURNS * (len(turns) // 2)
