"""Fold columns of text to the bytes by which rows are compared: `stages.duplicates.words.fold`, a column at a time.

A kernel folds what it can by the table of `stages.duplicates.alphabet`; the rows it cannot, it hands to the definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from stages.duplicates.alphabet import Alphabet, alphabet, ascii_alphabet
from stages.duplicates.fold_kernel import fold_rows, room_for_pieces
from stages.duplicates.rows import NO_ROWS, Folded, fresh, joined, on_all_cores, row_ranges, running
from stages.duplicates.words import PART, fold
from stages.vectors.llvm import LINE


class Documents(NamedTuple):
    """Rows as pieces of one text: row `d` has pieces `at[d]:at[d + 1]`, those of one part together."""

    text: np.ndarray
    """UTF-8 bytes, shape (bytes,)."""
    begins: np.ndarray
    ends: np.ndarray
    """Where a piece begins and ends in `text`, shape (pieces,)."""
    parts: np.ndarray
    """Which of `names` a piece belongs to, shape (pieces,)."""
    at: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.at) - 1


def fold_documents(lots: Sequence[Documents]) -> Folded:
    """Return lots of documents folded, one after another, on all cores.

    Each range of rows is folded into room of its own, and all is then moved together: copies would cost as much again.
    """
    ranges = [(lot, *some) for lot in lots for some in row_ranges(_sizes(lot))]
    rooms, strange = np.array([_room_of(*some) for some in ranges], np.int64).reshape(-1, 2).T
    data = fresh((rooms.sum(),), np.uint8, filled=True)
    some = np.split(data, np.cumsum(rooms))
    letters = alphabet() if strange.any() else ascii_alphabet()

    def fold_range(k: int) -> list[Folded]:
        return _fold_range(*ranges[k], letters, some[k])

    return _together(data, [*chain.from_iterable(on_all_cores(fold_range, range(len(ranges)))), NO_ROWS])


def _room_of(documents: Documents, first: int, last: int) -> tuple[int, int]:
    """Return how many bytes rows `first` to `last` become, at most, and how many of theirs are no ASCII."""
    room, strange = room_for_pieces(*documents[:4], *documents.at[[first, last]], _labels(documents.names)[1])
    return room + LINE, strange


def _sizes(documents: Documents) -> np.ndarray:
    """Return the running sums of the rows' bytes."""
    return np.concatenate(([0], np.cumsum(documents.ends - documents.begins)))[documents.at]


def _labels(names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return what stands before the words of each part, one after another, and where each begins."""
    labels = [f"{name}{PART}".encode("utf-8", "surrogatepass") for name in names]
    return np.frombuffer(b"".join(labels), np.uint8), np.cumsum([0, *map(len, labels)], dtype=np.int64)


def _fold_range(documents: Documents, first: int, last: int, letters: Alphabet, out: np.ndarray) -> list[Folded]:
    """Return rows `first` to `last` folded into `out`; one kernel call, then what the kernel left to the definition."""
    at = np.zeros(last - first + 1, np.int64)
    left = np.zeros(last - first, np.bool_)
    fold_rows(*documents[:5], first, last, *_labels(documents.names), *letters, out, at, left)
    return _completed(documents, first, Folded(out, at), np.flatnonzero(left))


def _together(data: np.ndarray, some: Sequence[Folded]) -> Folded:
    """Return folded rows one after another, moved to the front of `data`, in which they lie one after another.

    A few may lie elsewhere: those that were left to the definition.
    """
    ends = np.cumsum([len(folded.data) for folded in some])
    begins = np.append(0, ends[:-1])
    places = np.array([folded.data.ctypes.data - data.ctypes.data for folded in some])
    in_the_way = (places >= 0) & (places < begins)
    if in_the_way.any():  # the definition made too much of a text
        return joined(some)
    for folded, begin, end in zip(some, begins.tolist(), ends.tolist(), strict=True):
        data[begin:end] = folded.data
    return Folded(data[: ends[-1]], running(some))


def _completed(documents: Documents, first: int, folded: Folded, left: np.ndarray) -> list[Folded]:
    """Return `folded` in pieces, the rows in `left`, counted from `first`, as the definition folds them."""
    some, done = [], 0
    for row in left.tolist():
        some.append(_rows_of(folded, done, row))
        data = np.frombuffer(fold(row_parts(documents, first + row)), np.uint8)
        some.append(Folded(data, np.array([0, len(data)])))
        done = row + 1
    return [*some, _rows_of(folded, done, len(folded))]


def _rows_of(folded: Folded, first: int, last: int) -> Folded:
    at = folded.at[first : last + 1]
    return Folded(folded.data[at[0] : at[-1]], at - at[0])


def row_parts(documents: Documents, row: int) -> list[tuple[str, str]]:
    """Return a row's texts by part, as the definition takes them."""
    texts: dict[int, list[str]] = {}
    for piece in range(documents.at[row], documents.at[row + 1]):
        data = documents.text[documents.begins[piece] : documents.ends[piece]].tobytes()
        texts.setdefault(int(documents.parts[piece]), []).append(_decoded(data))
    return [(documents.names[part], "\n".join(said)) for part, said in texts.items()]


def _decoded(data: bytes) -> str:
    """Return text as a string, lone surrogates as they are, and bytes that are no UTF-8 by their numbers."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "backslashreplace")
