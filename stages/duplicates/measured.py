"""Similarities of pairs of documents that were measured once, so that no turn measures them again."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Measured(NamedTuple):
    """Similarities that were measured: of two documents, by `lesser << 32 | greater`, in order."""

    pairs: np.ndarray
    values: np.ndarray

    def extended(self, pairs: np.ndarray, values: np.ndarray) -> Measured:
        """Return these and others, none of which is among them."""
        order = np.argsort(pairs)
        places = np.searchsorted(self.pairs, pairs[order])
        return Measured(np.insert(self.pairs, places, pairs[order]), np.insert(self.values, places, values[order]))

    def lack(self, pairs: np.ndarray) -> np.ndarray:
        """Return those of some pairs that were not measured, in order."""
        wanted = np.unique(pairs)
        places = np.searchsorted(self.pairs, wanted)
        there = places < len(self.pairs)
        there[there] = self.pairs[places[there]] == wanted[there]
        return wanted[~there]

    def of(self, pairs: np.ndarray) -> np.ndarray:
        """Return the similarities of pairs, all of which were measured."""
        return self.values[np.searchsorted(self.pairs, pairs)]


NOTHING_MEASURED = Measured(np.empty(0, np.int64), np.empty(0, np.float64))


def pair_keys(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the numbers that stand for pairs of documents."""
    return np.minimum(left, right) << 32 | np.maximum(left, right)
