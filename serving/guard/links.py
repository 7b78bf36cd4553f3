"""Links in a reply: which ones there are, and whether their host is one that links may point to."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import urlsplit

TOP = (
    "com|net|org|info|biz|io|ai|app|dev|co|me|xyz|top|online|site|shop|club|link|click"
    "|ru|cn|tk|ml|ga|gq|cf|de|uk|eu|fr|nl|us|ca|in|(?:com|net|org|co|gov|edu)[.][a-z]{2}"
)
LINK = re.compile(
    r"(?<![a-z])(?:https?|ftp|file|wss?):[/\\]{1,3}[^\s<>\"'`|)\]}]+"
    r"|(?<![a-z])(?:javascript|data|vbscript):(?=\S)[^\s<>\"'`)\]]+"
    r"|(?<![\w:/\\])[/\\]{2}[\w.-]+\.[a-z]{2,24}[^\s<>\"'`|)\]}]*"
    rf"|(?<![\w.@/-])(?:www\.[^\s<>\"'`|)\]}}]+|(?:[\w-]{{1,63}}\.)+(?:{TOP})(?![\w-]|\.\w)(?:[/:?#][^\s<>\"'`|)\]}}]*)?)",
    re.IGNORECASE,
)
"""With a scheme, with two slashes alone, or a bare host name of a common domain: pages make links of all of them."""
RECEIVERS = "self|this|cls|super|window|document"
WORDS = "info|app|dev|me|top|online|site|shop|club|link|click|in|us|co"
"""Endings that programs call members by, too."""
OWN = re.compile(rf"(?:{RECEIVERS})\.(?:{TOP})")
MEMBER = re.compile(rf"(?:(?:{RECEIVERS})\.)?[^\W\d]\w*\.(?:{WORDS})")
GLUED = re.compile(r"[^\W\d_]+\.(?:In|De)")
"""Two sentences with no blank between them, where the second begins with a word that is an ending, too."""
TRAILING = ".,;:!?*_~"
DRAWN = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)} | dict.fromkeys((0x2024, 0x3002, 0xFF61), ".")
"""Letters and signs of full width, and dots of other scripts, as browsers read them."""


def links(text: str, hosts: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Yield start and end of every link whose host is neither one of `hosts` nor below one."""
    for match in LINK.finditer(text.translate(DRAWN)):
        link = match.group().rstrip(TRAILING)
        start, end = match.start(), match.start() + len(link)
        if not is_allowed(link, hosts) and not is_word(link, text[start - 1 : start], text[end : end + 1]):
            yield start, end


def is_allowed(link: str, hosts: tuple[str, ...]) -> bool:
    """Tell whether a link's host is allowed; a link whose host cannot be told is not."""
    host = _host(link)
    return host is not None and any(host == allowed or host.endswith(f".{allowed}") for allowed in hosts)


def is_word(link: str, before: str, after: str) -> bool:
    """Tell whether what reads as a bare host is a name in a program, or the seam of two sentences.

    `before` and `after` are the characters beside it, for a name is called, assigned to or stands between backticks.
    One label at most is free and nothing follows, so that no data can leave by a host of that form.
    """
    if OWN.fullmatch(link):
        return True
    if MEMBER.fullmatch(link):
        return after in ("(", "=") or before == after == "`"
    return GLUED.fullmatch(link) is not None and link.partition(".")[0].islower()


def _host(link: str) -> str | None:
    """Return the host as a browser would go to it: a backslash is a slash, what stands before `@` is a user."""
    plain = unicodedata.normalize("NFKC", link).replace("\\", "/")
    scheme, colon, rest = plain.partition(":/")
    address = f"//{rest.lstrip('/')}" if colon else f"//{plain.lstrip('/')}"
    if colon and scheme.lower() not in ("http", "https"):
        return None
    try:
        return (urlsplit(address).hostname or "").rstrip(".") or None
    except ValueError:
        return None
