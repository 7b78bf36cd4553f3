"""Chunks: sections cut at sentences into pieces of so many tokens that overlap, each with its title and a stable id."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from stages.documents.readers import Document

SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")
"""Where a text may be cut: behind the end of a sentence, and between lines."""

Count = Callable[[str], int]


@dataclass(frozen=True)
class Chunk:
    """A piece of a document. `title` is the document's and its headings', `source` names the file."""

    id: str
    tenant: str
    source: str
    title: str
    text: str
    link: str | None


@dataclass(frozen=True)
class Origin:
    """Where a document is from: its file, whose it is, and its address for readers."""

    source: str
    tenant: str
    link: str | None


def chunks_of(document: Document, origin: Origin, count: Count, tokens: int, overlap: int) -> Iterator[Chunk]:
    """Yield the chunks of a document, in order; a piece of equal words under equal headings comes once."""
    seen: set[str] = set()
    for section in document.sections:
        title = " > ".join(dict.fromkeys([document.title, *filter(None, section.path)]))
        for text in pieces(section.text, count, tokens, overlap):
            name = chunk_id(origin, title, text)
            if name not in seen:
                seen.add(name)
                yield Chunk(name, origin.tenant, origin.source, title, text, origin.link)


def chunk_id(origin: Origin, title: str, text: str) -> str:
    """Return 32 hex digits that change with the words, their place and whose they are, and with nothing else."""
    return hashlib.sha256("\x1f".join((origin.tenant, origin.source, title, text)).encode()).hexdigest()[:32]


def pieces(text: str, count: Count, tokens: int, overlap: int) -> list[str]:
    """Return a text in pieces of at most `tokens`, each beginning with the last sentences, of at most `overlap`
    tokens together, of the one before it.

    A sentence that is longer is cut between words; a word that is longer stands alone, whole.
    """
    found: list[list[str]] = []
    piece: list[str] = []
    for sentence in _sentences(text, count, tokens):
        if piece and count(" ".join([*piece, sentence])) > tokens:
            found.append(piece)
            piece = _tail(piece, sentence, count, tokens, overlap)
        piece = [*piece, sentence]
    return [" ".join(one) for one in [*found, piece] if one]


def _sentences(text: str, count: Count, tokens: int) -> Iterator[str]:
    for sentence in SENTENCE.split(text):
        words = sentence.split()
        if words and count(" ".join(words)) <= tokens:
            yield " ".join(words)
        elif words:
            yield from _runs(words, count, tokens)


def _runs(words: Sequence[str], count: Count, tokens: int) -> Iterator[str]:
    """Yield runs of words of at most `tokens`, found by halving."""
    if len(words) == 1 or count(" ".join(words)) <= tokens:
        yield " ".join(words)
        return
    middle = len(words) // 2
    yield from _runs(words[:middle], count, tokens)
    yield from _runs(words[middle:], count, tokens)


def _tail(piece: Sequence[str], following: str, count: Count, tokens: int, overlap: int) -> list[str]:
    tail: list[str] = []
    for sentence in reversed(piece[1:]):
        wider = [sentence, *tail]
        if count(" ".join(wider)) > overlap or count(" ".join([*wider, following])) > tokens:
            break
        tail = wider
    return tail
