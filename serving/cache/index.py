"""The nearest questions of a partition, by cosine, exactly: one matrix a partition, one product a look-up."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass
class Shelf:
    """Vectors of one partition, in the rows of a matrix that doubles when it is full, and whose they are."""

    matrix: np.ndarray
    names: list[str] = field(default_factory=list)

    def add(self, name: str, vector: np.ndarray) -> None:
        import numpy as np

        if len(self.names) == len(self.matrix):
            self.matrix = np.concatenate([self.matrix, np.zeros_like(self.matrix)])
        self.matrix[len(self.names)] = vector
        self.names.append(name)

    def remove(self, row: int) -> str | None:
        """Fill a row with the last one; return the name of what moved there."""
        last = self.names.pop()
        if row == len(self.names):
            return None
        self.matrix[row], self.names[row] = self.matrix[len(self.names)], last
        return last


class NearestQuestions:
    """Questions by partition, the oldest of all leaving beyond `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._shelves: dict[str, Shelf] = {}
        self._places: OrderedDict[str, tuple[str, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._places)

    def add(self, partition: str, name: str, vector: np.ndarray) -> list[str]:
        """Put a unit vector on its partition's shelf and return the names that left for it."""
        import numpy as np

        if partition not in self._shelves:
            self._shelves[partition] = Shelf(np.zeros((8, len(vector)), np.float32))
        shelf = self._shelves[partition]
        self._places[name] = (partition, len(shelf.names))
        shelf.add(name, vector)
        gone = []
        while len(self._places) > self._most:
            gone.append(next(iter(self._places)))
            self.remove(gone[-1])
        return gone

    def remove(self, name: str) -> None:
        """Take a question away, if it is there."""
        partition, row = self._places.pop(name, ("", -1))
        if row < 0:
            return
        shelf = self._shelves[partition]
        if (moved := shelf.remove(row)) is not None:
            self._places[moved] = (partition, row)
        if not shelf.names:
            del self._shelves[partition]

    def near(self, partition: str, vector: np.ndarray, at_least: float) -> Iterator[tuple[str, float]]:
        """Yield names and cosines of a partition's questions, nearest first, down to `at_least`."""
        import numpy as np

        shelf = self._shelves.get(partition)
        if shelf is None:
            return
        cosines = shelf.matrix[: len(shelf.names)] @ vector
        found = np.flatnonzero(cosines >= at_least)
        for row in found[np.argsort(-cosines[found], kind="stable")]:
            yield shelf.names[row], float(cosines[row])
