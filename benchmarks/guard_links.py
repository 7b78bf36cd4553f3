"""What the guardrails' link rule removes and should not, and what it should and does not.

    THUMBWHEEL_PUBLIC_DATA=… python -m benchmarks.guard_links

Programs hold no links once comments and strings are taken out: Python's own standard library and HumanEval's solutions.
What should go are the hosts of all addresses in public chats, each put down bare as a reply or a call of a tool has it.
Both are counted with the exceptions for names in programs and seams of sentences (`is_word`), and without them. No
frame is one of theirs: a bare host of a common ending that is written as a call (`host.info()`) passes by design.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import sysconfig
import tokenize
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast
from unittest import mock

from benchmarks.guardrails import share
from benchmarks.measure import machine, markdown
from benchmarks.public_data import AbsentDataError, public_data
from serving.guard import links

HOSTS: tuple[str, ...] = ("brindlewick.example",)
ADDRESS = re.compile(rf"https?://((?:[a-z0-9-]+\.)+(?:{links.TOP}))(?=[/\s\"')\]]|$)")
FRAMES = ("See {} for more.", '{{"url": "{}"}}', "{}", "({})", "at {}, or write")
SILENT = {tokenize.COMMENT, tokenize.STRING}
HEADING = ("texts", "n", "taken for a link without exceptions", "with them")


def program(source: str) -> str:
    """Return Python's source without comments and strings; nothing of one that is no Python 3."""
    lines = source.splitlines(keepends=True)
    try:
        tokens = [*tokenize.generate_tokens(io.StringIO(source).readline)]
    except (tokenize.TokenError, SyntaxError):
        return ""
    for token in reversed([token for token in tokens if token.type in SILENT]):
        (top, left), (bottom, right) = token.start, token.end
        lines[top - 1 : bottom] = [lines[top - 1][:left] + '""' + lines[bottom - 1][right:]]
    return "".join(lines)


def standard_library() -> list[str]:
    """Return the lines of the standard library's modules that hold a dot."""
    folder = Path(sysconfig.get_path("stdlib"))
    texts = [path.read_text(errors="replace") for path in sorted(folder.glob("*.py"))]
    return [line for text in texts for line in program(text).splitlines() if "." in line]


def human_eval() -> list[str]:
    """Return HumanEval's programs, line by line."""
    with gzip.open(public_data("benchmarks/humaneval") / "HumanEval.jsonl.gz", "rt") as file:
        programs = [program(row["prompt"] + row["canonical_solution"]) for row in map(json.loads, file)]
    return [line for text in programs for line in text.splitlines() if "." in line]


def bare_hosts() -> list[str]:
    """Return the hosts of the addresses in public chats, each once, in every frame."""
    files = [path for name in ("chat", "preferences") for path in public_data(name).rglob("*") if path.is_file()]
    found = {host for path in files for line in opened(path) for host in ADDRESS.findall(line)}
    return [frame.format(host) for host in sorted(found) for frame in FRAMES]


def opened(path: Path) -> IO[str]:
    read: Any = gzip.open if path.suffix == ".gz" else open
    return cast(IO[str], read(path, "rt", errors="replace"))


def taken(texts: Sequence[str]) -> int:
    return sum(any(links.links(text, HOSTS)) for text in texts)


def rows() -> Iterator[list[str]]:
    """Yield, for each set that is here, how many texts lose a link by the rule without its exceptions and with them."""
    sets: dict[str, Callable[[], list[str]]] = {
        "lines of the standard library: should stay": standard_library,
        "lines of HumanEval: should stay": human_eval,
        "bare hosts of public chats: should go": bare_hosts,
    }
    for name, read in sets.items():
        try:
            texts = read()
        except AbsentDataError as error:
            print(f"left out: {error}\n")
            continue
        with mock.patch.object(links, "is_word", return_value=False):
            before = taken(texts)
        yield [name, str(len(texts)), *(f"{hits}: {share(hits, len(texts))}" for hits in (before, taken(texts)))]


def main() -> None:
    print(machine(), "\n")
    print(markdown(HEADING, list(rows())))


if __name__ == "__main__":
    main()
