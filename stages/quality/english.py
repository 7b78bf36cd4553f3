"""Split English text into words and sentences as spaCy's blank English does: the definition that the kernel is held to.

White space parts a text into chunks. A chunk that is a special case ("don't") has its own pieces; otherwise marks are
taken off its front and its back, one at a time, and what is left is a special case, an address, or parted at infixes
("read-only"). At last pieces that make up a special case are put together again (the smile of "Hello!:)").

The rules are data, `english_rules.json`, made by `python benchmarks/english_rules.py`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple

RULES = Path(__file__).with_name("english_rules.json")

LONGEST = 12
"""Characters of the longest special case; none has so many pieces."""


class Patterns(NamedTuple):
    """The compiled rules: affixes, infixes, and the character classes that sentences need."""

    prefix: re.Pattern[str]
    suffix: re.Pattern[str]
    infix: re.Pattern[str]
    address: re.Pattern[str]
    sentence_end: re.Pattern[str]


@cache
def rules() -> dict[str, Any]:
    """Return the rules as they stand in their file."""
    loaded: dict[str, Any] = json.loads(RULES.read_text())
    return loaded


@cache
def patterns() -> Patterns:
    """Compile the rules."""
    r = {name: "".join(_range(*pair) for pair in value) for name, value in rules().items() if _is_ranges(value)}
    a, lower, upper, quote, icon = (r[name] for name in ("alpha", "lower", "upper", "quote", "icon"))
    money, units = ("|".join(map(re.escape, rules()[name])) for name in ("currency", "units"))
    prefix = rf"[{r['prefix']}{icon}]|\.\.+|{money}|\+(?![0-9])"
    suffix = (
        rf"[{r['suffix']}{icon}]$|……$|\.\.+$|['’][sS]$|(?<=[0-9])(?:\+|{money}|{units})$|(?<=°[FfCcKk])\.$"
        rf"|(?<=[{r['before_dot']}])\.$|(?<=[{upper}][{upper}])\.$"
    )
    infix = (
        rf"\.\.+|…|[{icon}]|(?<=[0-9])[+\-*^](?=[0-9-])|(?<=[{lower}{quote}])\.(?=[{upper}{quote}])"
        rf"|(?<=[{a}]),(?=[{a}])|(?<=[{a}0-9])(?:---?|-|–|——?|~)(?=[{a}])|(?<=[{a}0-9])[:<>=/](?=[{a}])"
    )
    return Patterns(*map(re.compile, (prefix, suffix, infix, _address(lower), f"[{r['sentence_end']}]")))


@cache
def marked_cases() -> dict[str, int]:
    """Return the special cases that hold an affix or an infix, and so may have been taken apart, with their pieces."""
    prefix, suffix, infix, *_ = patterns()
    found = {s: prefix.match(s) or suffix.search(s) or infix.search(s) for s in rules()["special"]}
    return {case: len(rules()["special"][case]) for case, marks in found.items() if marks}


def _address(lower: str) -> str:
    """Return what a URL, a host or an e-mail address looks like to spaCy (after Diego Perini's pattern)."""
    host = "A-Za-z0-9\u00a1-\uffff"
    octet, last = "(?:1?[0-9]{1,2}|2[0-4][0-9]|25[0-5])", "(?:[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-4])"
    private = r"(?!(?:10|127)\.|169\.254\.|192\.168\.|172\.(?:1[6-9]|2[0-9]|3[01])\.)"
    number = rf"{private}(?:[1-9][0-9]?|1[0-9]{{2}}|2[01][0-9]|22[0-3])(?:\.{octet}){{2}}\.{last}"
    name = rf"(?:(?:[{host}][{host}_-]{{0,62}})?[{host}]\.)+[{lower}]{{2,63}}"
    return rf"(?:[\w+\-.]{{2,}}://)?(?:\S+(?::\S*)?@)?(?:{number}|{name})(?::[0-9]{{2,5}})?(?:[/?#]\S*)?"


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each word begins and ends, in order."""
    for chunk in re.finditer(r"\S+", text):
        ends = accumulate((len(piece) for piece in split_chunk(chunk[0])), initial=chunk.start())
        yield from pairwise(ends)


def split_chunk(chunk: str) -> list[str]:
    """Return the words of a text without white space."""
    special, before, after, core = rules()["special"], [], [], chunk
    while core and core not in special:
        head = _length(patterns().prefix.match(core))
        tail = _length(patterns().suffix.search(core[head:]))
        if core[head:] in special:
            tail = 0
        elif core[: len(core) - tail] in special:
            head = 0
        if not head and not tail:
            break
        before.append(core[:head])
        after.append(core[len(core) - tail :])
        core = core[head : len(core) - tail]
    return list(_rejoin([piece for piece in (*before, *_split_core(core), *reversed(after)) if piece]))


def sentence_count(text: str) -> int:
    """Return how many sentences spaCy's sentencizer sees in a line; at least one.

    A sentence begins with the first word after a closing mark that is no punctuation; so does white space that is more
    than one space, which spaCy takes for a word.
    """
    count, closed, last = 1, False, 0
    for begin, end in spans(text):
        word, wide = text[begin:end], text[last:begin] not in ("", " ")
        closes = bool(patterns().sentence_end.fullmatch(word))
        if closed and (wide or not (closes or is_punctuation(word))):
            count, closed = count + 1, False
        closed, last = closed or closes, end
    return count


def is_punctuation(word: str) -> bool:
    """True where every character is of a Unicode category P."""
    return all(unicodedata.category(c).startswith("P") for c in word)


def _split_core(core: str) -> Iterator[str]:
    special = rules()["special"]
    if core in special:
        return (yield from _cut(core))
    if patterns().address.fullmatch(core):
        ends = [0, len(core)]
    else:
        ends = [0, *(end for m in patterns().infix.finditer(core) if m.start() for end in m.span()), len(core)]
    yield from (core[begin:end] for begin, end in pairwise(ends))


def _rejoin(pieces: list[str]) -> Iterator[str]:
    """Yield the pieces, the longest run of them that is a special case with marks in it as that case's own pieces."""
    at = 0
    while at < len(pieces):
        ends = range(min(len(pieces), at + LONGEST), at + 1, -1)
        end = next((end for end in ends if marked_cases().get("".join(pieces[at:end]), LONGEST + 1) <= end - at), None)
        yield from _cut("".join(pieces[at:end])) if end else (pieces[at],)
        at = end or at + 1


def _cut(case: str) -> Iterator[str]:
    ends = accumulate(rules()["special"][case], initial=0)
    yield from (case[begin:end] for begin, end in pairwise(ends))


def _length(match: re.Match[str] | None) -> int:
    return len(match[0]) if match else 0


def _is_ranges(value: object) -> bool:
    return isinstance(value, list) and isinstance(value[0], list)


def _range(first: int, last: int) -> str:
    return f"\\U{first:08x}-\\U{last:08x}"
