"""The identities of many conversations at once: what `thumbwheel.records.conversation_id` gives for each, in bulk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, chain, pairwise

import numpy as np

from stages.reading.messages import CONTROLS
from thumbwheel.folding import FOLDED

MARK = b"\0"
MARKED = bytes(0 if byte in CONTROLS else folded for byte, folded in enumerate(FOLDED))
"""Folds like `FOLDED`, and makes `MARK` of every control that no message may hold, so that one look finds them all."""
BLANK = ord(" ")
HEX_DIGITS = 64
"""Of an identity."""
SIZE = 8
"""Bytes in which the size of a text stands before it."""


def conversation_ids(roles: Sequence[tuple[str, ...]], folded: Sequence[bytes]) -> list[str]:
    """Return the identity of each conversation, of which `roles` are those of its messages.

    `folded` holds the contents of all messages in a row, by `thumbwheel.folding.fold`.
    """
    said = b"".join(_digests(roles, [text.strip(b" ") for text in folded])).hex()
    return [said[place : place + HEX_DIGITS] for place in range(0, len(said), HEX_DIGITS)]


def _digests(roles: Sequence[tuple[str, ...]], texts: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the digest of each conversation's messages, of which each text has no blank at its ends.

    All are laid out one after the other as they are hashed, but for the sizes, which are known only once of blanks in
    a row all but the first are gone.
    """
    heads = [head for of_one in roles for head in _heads(of_one)]
    laid = np.frombuffer(b"".join(chain.from_iterable(zip(heads, texts, strict=True))), np.uint8)
    blank = laid == BLANK
    blank[1:] &= blank[:-1]
    sizes = np.array([list(map(len, heads)), list(map(len, texts))], np.int64)
    ends = np.cumsum(sizes.sum(axis=0))
    ends -= np.searchsorted(np.flatnonzero(blank), ends)
    said = laid[~blank]
    bounds = np.concatenate([[0], ends])
    starts = bounds[:-1] + sizes[0]
    said[starts[:, None] + np.arange(-SIZE, 0)] = (ends - starts).astype(f">u{SIZE}").view(np.uint8).reshape(-1, SIZE)
    data = memoryview(said)
    for start, end in pairwise(bounds[list(accumulate(map(len, roles), initial=0))].tolist()):
        yield hashlib.sha256(data[start:end]).digest()


@lru_cache(256)
def _heads(roles: tuple[str, ...]) -> list[bytes]:
    """Return what stands before the text of each message: its role, and room for the text's size."""
    return [len(role).to_bytes(SIZE, "big") + role.encode() + bytes(SIZE) for role in roles]
