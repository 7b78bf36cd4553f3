"""The identities of many conversations at once: what `thumbwheel.records.conversation_id` gives for each, in bulk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

from stages.reading.formats import CONTROLS
from thumbwheel.records import FOLDED

MARK = b"\0"
MARKED = FOLDED.translate(bytes(0 if byte in CONTROLS else byte for byte in range(256)))
"""Folds like `FOLDED`, and makes `MARK` of every control that no message may hold, so that one look finds them all."""
BLANK = ord(" ")
AT_ONCE = 128
"""Conversations whose texts are squeezed together; of so many the bytes still lie in the processor's cache."""


def conversation_ids(roles: Sequence[tuple[str, ...]], folded: Sequence[bytes]) -> list[str]:
    """Return the identity of each conversation, of which `roles` are those of its messages.

    `folded` holds the contents of all messages in a row, by `thumbwheel.records.fold`.
    """
    ids: list[str] = []
    end = 0
    for place in range(0, len(roles), AT_ONCE):
        some = roles[place : place + AT_ONCE]
        start, end = end, end + sum(map(len, some))
        ids += _ids(some, squeezed(folded[start:end]))
    return ids


def _ids(roles: Sequence[tuple[str, ...]], texts: Sequence[bytes]) -> Iterator[str]:
    heads = chain.from_iterable(map(_heads, roles))
    sizes = [len(text).to_bytes(8, "big") for text in texts]
    said = list(chain.from_iterable(zip(heads, sizes, texts, strict=True)))
    start = 0
    for of_one in roles:
        end = start + 3 * len(of_one)
        yield hashlib.sha256(b"".join(said[start:end])).hexdigest()
        start = end


@lru_cache(256)
def _heads(roles: tuple[str, ...]) -> list[bytes]:
    return [len(role).to_bytes(8, "big") + role.encode() for role in roles]


def squeezed(texts: Sequence[bytes]) -> list[bytes]:
    """Return each text with its blanks in a row made one, and none at its ends."""
    joined = np.frombuffer(b"".join(texts), np.uint8)
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    needed = _needed(joined, np.concatenate([[0], ends[:-1]]))
    kept = joined[needed]
    if not len(kept):
        return [b""] * len(texts)
    ends -= np.searchsorted(np.flatnonzero(~needed), ends)
    starts = np.concatenate([[0], ends[:-1]])
    trailing = (ends > starts) & (kept[ends - 1] == BLANK)
    data = kept.tobytes()
    return [data[start:end] for start, end in zip(starts.tolist(), (ends - trailing).tolist(), strict=True)]


def _needed(joined: Any, starts: Any) -> Any:
    """Tell of each byte that it is no blank, or one that follows another byte of its text."""
    solid = joined != BLANK
    needed = solid.copy()
    needed[1:] |= solid[:-1]
    starts = starts[starts < len(joined)]
    needed[starts] = solid[starts]
    return needed
