"""Links in a reply: which ones there are, and whether their host is one that links may point to."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import urlsplit

TOP = (
    "com|net|org|info|biz|io|ai|app|dev|co|me|xyz|top|online|site|shop|club|link|click"
    "|ru|cn|tk|ml|ga|gq|cf|de|uk|eu|fr|nl|us|ca|in"
)
LINK = re.compile(
    r"(?<![a-z])(?:https?|ftp|file|wss?):[/\\]{1,3}[^\s<>\"'`|)\]}]+"
    r"|(?<![a-z])(?:javascript|data|vbscript):(?=\S)[^\s<>\"'`)\]]+"
    r"|(?<![\w:/\\])[/\\]{2}[\w.-]+\.[a-z]{2,24}[^\s<>\"'`|)\]}]*"
    rf"|(?<![\w.@/-])(?:www\.[^\s<>\"'`|)\]}}]+|(?:[\w-]{{1,63}}\.)+(?:{TOP})(?![\w-]|\.\w)(?:[/:?#][^\s<>\"'`|)\]}}]*)?)",
    re.IGNORECASE,
)
"""With a scheme, with two slashes alone, or a bare host name of a common domain: pages make links of all of them."""
TRAILING = ".,;:!?*_~"
DRAWN = re.compile(r"[\u2024\u3002\uff0e\uff61]")
"""Dots of other scripts, which browsers read as a dot."""


def links(text: str, hosts: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Yield start and end of every link whose host is neither one of `hosts` nor below one."""
    for match in LINK.finditer(DRAWN.sub(".", text)):
        link = match.group().rstrip(TRAILING)
        if not is_allowed(link, hosts):
            yield match.start(), match.start() + len(link)


def is_allowed(link: str, hosts: tuple[str, ...]) -> bool:
    """Tell whether a link's host is allowed; a link whose host cannot be told is not."""
    host = _host(link)
    return host is not None and any(host == allowed or host.endswith(f".{allowed}") for allowed in hosts)


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
