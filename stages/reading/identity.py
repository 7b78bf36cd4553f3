"""The identities of many conversations at once: what `thumbwheel.records.conversation_id` gives for each, in bulk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from stages.reading.formats import CONTROLS, Messages
from thumbwheel.records import FOLDED, ROLES

MARK = b"\0"
MARKED = FOLDED.translate(bytes(0 if byte in CONTROLS else byte for byte in range(256)))
"""Folds like `FOLDED`, and makes `MARK` of every control that no message may hold, so that one look finds them all."""
BLANK = ord(" ")
HEADS = {role: len(role).to_bytes(8, "big") + role.encode() for role in ROLES}
AT_ONCE = 128
"""Conversations whose texts are squeezed together; of so many the bytes still lie in the processor's cache."""


def conversation_ids(conversations: Sequence[Messages], folded: Sequence[Sequence[bytes]]) -> Iterator[str]:
    """Yield the identity of each conversation; `folded` holds the contents of its messages by `records.fold`."""
    for start in range(0, len(conversations), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        texts = squeezed([text for texts in folded[some] for text in texts])
        for messages in conversations[some]:
            said: list[bytes] = []
            for message in messages:
                said.append(HEADS[message["role"]])
                said += next(texts)
            yield hashlib.sha256(b"".join(said)).hexdigest()


def squeezed(texts: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield each text with its blanks in a row made one, and none at its ends; before it its length, in 8 bytes."""
    if not texts:
        return
    joined = np.frombuffer(b"".join(texts), np.uint8)
    ends = np.cumsum([len(text) for text in texts])
    dropped = _needless(joined, ends)
    kept = joined[~dropped].tobytes()
    ends -= np.searchsorted(np.flatnonzero(dropped), ends)
    start = 0
    for end in ends.tolist():
        text = kept[start:end]
        if text.endswith(b" "):
            text = text[:-1]
        yield len(text).to_bytes(8, "big"), text
        start = end


def _needless(joined: Any, ends: Any) -> Any:
    """Tell of each byte whether it is a blank that follows a blank or begins a text."""
    blank = joined == BLANK
    needless = blank.copy()
    needless[1:] &= blank[:-1]
    starts = np.concatenate([[0], ends[:-1]])
    starts = starts[starts < len(joined)]
    needless[starts] = blank[starts]
    return needless
