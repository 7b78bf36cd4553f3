"""What a user states of themselves: name, language, preferences, found by rules in their own words.

A rule holds at the beginning of a clause, in a message that is short enough to be speech: what is quoted, pasted, code
or supposed ("what if my name is …") states nothing. No rule looks for health, belief, or anything beside how to speak
with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from serving.memory.blocks import line

MOST_SPOKEN = 1000
"""Characters; a longer message is a text, and a text speaks of anybody."""
Kind = Literal["name", "language", "preference"]


@dataclass(frozen=True)
class Statement:
    kind: Kind
    value: str


BEGIN = r"(?:(?:^|[.!?;:,\n])\s*|\b(?:hi|hello|hey|and|also|but|well|so|ok|okay|by the way|btw|please)[,!]?\s+)"
NAME = r"(?P<value>(?:(?-i:[^\W\d_a-z])\.[ \t]?)*[^\W\d_][\w'’-]*(?:[ \t]+(?-i:[^\W\d_a-z][\w'’-]*)){0,2})"
CLAUSE = r"(?P<value>[^\n.!?;]+)"
LANGUAGES = (
    "arabic|bengali|bulgarian|catalan|chinese|croatian|czech|danish|dutch|english|esperanto|estonian|finnish|french|german|"
    "greek|hebrew|hindi|hungarian|icelandic|indonesian|irish|italian|japanese|korean|latin|latvian|lithuanian|malay|"
    "mandarin|norwegian|persian|polish|portuguese|romanian|russian|serbian|slovak|slovenian|spanish|swahili|swedish|tamil|"
    "thai|turkish|ukrainian|urdu|vietnamese|welsh"
)
LANGUAGE = rf"(?P<value>(?:(?:simple|plain|british|american|brazilian|swiss)\s+)?(?:{LANGUAGES}))\b"
SPEAK = r"(?:answer|reply|respond|write|speak|talk)(?:\s+(?:to\s+)?me)?"
DO = r"(?:add|answer|be|call|cite|explain|give|include|keep|reply|respond|say|show|speak|start|talk|tell|use|write)"

RULES: tuple[tuple[Kind, str], ...] = (
    ("name", rf"my\s+(?:first\s+)?name(?:['’]s|\s+is)\s+{NAME}"),
    ("name", rf"(?:you\s+(?:can|may)\s+)?call\s+me\s+{NAME}(?=\s*(?:$|[.,;!?\n]|\band\b|\bplease\b|\bfrom now\b))"),
    ("language", rf"(?:please\s+)?(?:always|from now on,?(?:\s+please)?)\s+{SPEAK}\s+in\s+{LANGUAGE}"),
    ("language", rf"(?:please\s+)?{SPEAK}\s+in\s+{LANGUAGE}\s+(?:from now on|always)"),
    ("language", rf"i(?:['’]d)?\s+(?:\w+\s+)?prefer\s+(?:\w+\s+)?(?:answers\s+in\s+|to\s+\w+\s+in\s+)?{LANGUAGE}"),
    ("preference", rf"i(?:['’]d)?\s+(?:\w+ly\s+)?prefer\s+{CLAUSE}"),
    ("preference", rf"(?:please[ \t]+)?(?P<value>always[ \t]+{DO}\b[^\n.!?;]+)"),
    ("preference", rf"(?:please\s+)?from\s+now\s+on,?\s+{CLAUSE}"),
)
PATTERNS = tuple((kind, re.compile(BEGIN + rule, re.IGNORECASE)) for kind, rule in RULES)
NOT_A_NAME = re.compile(
    r"(?:an?|the|not|on|in|at|it|if|is|of|to|when|what|how|why|who|where|back|later|again|tomorrow|today|tonight|maybe|soon|"
    r"after|before|by|from|with|for|about|asap|names|unknown|none|nothing|nobody|confidential|secret|private)"
)
QUOTED = re.compile(r"```.*?(?:```|\Z)|^\s*>.*$|\"[^\"\n]*\"|“[^”\n]*”|`[^`\n]*`", re.DOTALL | re.MULTILINE)
TRAILING = re.compile(r"[\s,]+(?:please|thanks|thank you|and|but|so)?[\s,]*$", re.IGNORECASE)


def statements(message: str, most: int) -> list[Statement]:
    """Return what a message of the user's states of them, in order; values are lines of at most `most` characters."""
    if len(message) > MOST_SPOKEN:
        return []
    spoken = QUOTED.sub(" . ", message)
    found: list[Statement] = []
    taken: list[tuple[int, int]] = []
    for kind, begin, end, value in _matches(spoken):
        cleaned = line(TRAILING.sub("", value).rstrip(".-'’"), most)
        if not _means_something(kind, cleaned) or any(begin < e and b < end for b, e in taken):
            continue
        taken.append((begin, end))
        found.append(Statement(kind, cleaned))
    return list(dict.fromkeys(found))


def _matches(spoken: str) -> Iterator[tuple[Kind, int, int, str]]:
    for kind, pattern in PATTERNS:
        for match in pattern.finditer(spoken):
            yield kind, *match.span("value"), match["value"]


def _means_something(kind: Kind, value: str) -> bool:
    first = value.partition(" ")[0].lower().strip(".,'’-")
    if kind == "name":
        return bool(first) and not NOT_A_NAME.fullmatch(first)
    return len(value) > 1 and not value.lower().startswith(("not to say", "not to answer"))
