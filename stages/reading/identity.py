"""The identities of many conversations at once: what `thumbwheel.records.conversation_id` gives for each, in bulk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from stages.reading.messages import CONTROLS, Messages
from thumbwheel.records import FOLDED, ROLES

MARK = b"\0"
MARKED = FOLDED.translate(bytes(0 if byte in CONTROLS else byte for byte in range(256)))
"""Folds like `FOLDED`, and makes `MARK` of every control that no message may hold, so that one look finds them all."""
BLANK = ord(" ")
HEADS = {role: len(role).to_bytes(8, "big") + role.encode() for role in ROLES}
AT_ONCE = 128
"""Conversations whose texts are squeezed together; of so many the bytes still lie in the processor's cache."""


def conversation_ids(conversations: Sequence[Messages], folded: Sequence[Sequence[bytes]]) -> list[str]:
    """Return the identity of each conversation; `folded` holds the contents of its messages by `records.fold`."""
    ids: list[str] = []
    for start in range(0, len(conversations), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        ids += _ids(conversations[some], squeezed([text for texts in folded[some] for text in texts]))
    return ids


def _ids(conversations: Sequence[Messages], texts: Sequence[bytes]) -> Iterator[str]:
    heads = [HEADS[message["role"]] for messages in conversations for message in messages]
    sizes = [len(text).to_bytes(8, "big") for text in texts]
    said = list(chain.from_iterable(zip(heads, sizes, texts, strict=True)))
    start = 0
    for messages in conversations:
        end = start + 3 * len(messages)
        yield hashlib.sha256(b"".join(said[start:end])).hexdigest()
        start = end


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
