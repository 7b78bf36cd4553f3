"""Find rows that resemble each other across the sides of a split, and settle which of them must go.

Exact at any size that fits in memory: shared n-grams by a sparse product, cosines by blocks of a dense one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from stages.sides.lexicon import distinct

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_array

BLOCK = 512
"""Rows of one block of a product: at 100,000 rows, some 200 MB."""


@dataclass(frozen=True)
class Pairs:
    """Rows `left[k]` and `right[k]` stand on two sides and resemble each other by `similarity[k]`, seen by `how`."""

    how: str
    left: np.ndarray
    right: np.ndarray
    similarity: np.ndarray


@dataclass(frozen=True)
class Rival:
    """The row that stays, because of which another goes."""

    row: int
    how: str
    similarity: float


def alike_by_words(hashes: np.ndarray, rows: np.ndarray, sides: np.ndarray, least: float) -> Pairs:
    """Return the pairs across sides whose n-grams have a Jaccard similarity of `least` or more.

    `rows[k]` is the row that n-gram `hashes[k]` stands in, `sides[i]` the side of row i as a small number, negative
    where it takes no part.
    """
    import numpy as np

    standing = sides[rows] >= 0
    hashes, rows = distinct(hashes[standing], rows[standing])
    sizes = np.bincount(rows, minlength=len(sides))
    matrix = _shared(hashes, rows, sides)
    found = [_by_jaccard(matrix, *two, sizes, least) for two in _two_sides(sides)]
    return _joined("words", found)


def alike_by_meaning(vectors: np.ndarray, sides: np.ndarray, least: float) -> Pairs:
    """Return the pairs across sides whose unit vectors have a cosine of `least` or more."""
    import numpy as np

    found = []
    for some, others in _two_sides(sides):
        for block in _blocks(some):
            cosines = vectors[block] @ vectors[others].T
            left, right = np.nonzero(cosines >= least)
            found.append((block[left], others[right], cosines[left, right]))
    return _joined("meaning", found)


def of_one_user(users: Sequence[str | None], sides: np.ndarray) -> Pairs:
    """Return the pairs across sides that are of one user: each row with the first of that user on every other side."""
    import numpy as np

    firsts: dict[tuple[str, int], int] = {}
    for i, user in enumerate(users):
        if user and sides[i] >= 0:
            firsts.setdefault((user, int(sides[i])), i)
    found = [
        (i, firsts[user, other])
        for i, user in enumerate(users)
        if user and sides[i] >= 0
        for other in range(3)
        if other != sides[i] and (user, other) in firsts
    ]
    left, right = np.array(found, np.int64).reshape(-1, 2).T
    return Pairs("user", left, right, np.ones(len(left)))


def settle(order: Iterable[int], pairs: Sequence[Pairs]) -> dict[int, Rival]:
    """Return which rows go, and for whom: each row in its order stays, unless it resembles one that stays already.

    So nothing is left that resembles a row on another side, nothing goes without need, and a row that comes after
    all others in `order` changes nothing for them.
    """
    import numpy as np

    left = np.concatenate([p for one in pairs for p in (one.left, one.right)] or [np.empty(0, np.int64)])
    right = np.concatenate([p for one in pairs for p in (one.right, one.left)] or [np.empty(0, np.int64)])
    similarity = np.concatenate([p for one in pairs for p in (one.similarity, one.similarity)] or [np.empty(0)])
    kind = np.repeat(np.arange(len(pairs)), [2 * len(one.left) for one in pairs])
    by_row = np.lexsort((right, -similarity, kind, left))
    rows, begins, counts = np.unique(left[by_row], return_index=True, return_counts=True)
    spans = dict(zip(rows.tolist(), zip(begins.tolist(), (begins + counts).tolist(), strict=True), strict=True))
    stays = np.zeros(int(left.max(initial=-1)) + 1, bool)
    gone: dict[int, Rival] = {}
    for i in order:
        if i not in spans:
            continue
        mine = by_row[slice(*spans[i])]
        rivals = mine[stays[right[mine]]]
        if len(rivals):
            k = rivals[0]
            gone[i] = Rival(int(right[k]), pairs[kind[k]].how, float(similarity[k]))
        else:
            stays[i] = True
    return gone


def _two_sides(sides: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows of every two sides, the smaller first."""
    import numpy as np

    groups = [np.flatnonzero(sides == side) for side in np.unique(sides[sides >= 0])]
    for one, other in combinations(groups, 2):
        yield (one, other) if len(one) <= len(other) else (other, one)


def _shared(hashes: np.ndarray, rows: np.ndarray, sides: np.ndarray) -> csr_array:
    """Return rows x n-grams, 1 where a row holds one, of the n-grams that stand on more than one side."""
    import numpy as np
    from scipy.sparse import csr_array

    begins = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]])) if len(hashes) else np.empty(0, int)
    seen = np.bitwise_or.reduceat(1 << sides[rows], begins) if len(begins) else np.empty(0, int)
    gram = np.repeat(np.arange(len(begins)), np.diff([*begins, len(hashes)]))
    keep = ((seen & (seen - 1)) != 0)[gram]
    _, columns = np.unique(gram[keep], return_inverse=True)
    ones = np.ones(int(keep.sum()), np.int32)
    return csr_array((ones, (rows[keep], columns)), shape=(len(sides), int(columns.max(initial=-1)) + 1))


def _by_jaccard(
    matrix: csr_array, some: np.ndarray, others: np.ndarray, sizes: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import numpy as np

    found = []
    turned = matrix[others].T.tocsr()
    for block in _blocks(some):
        common = (matrix[block] @ turned).tocoo()
        left, right = block[common.row], others[common.col]
        similarity = common.data / (sizes[left] + sizes[right] - common.data)
        near = similarity >= least
        found.append((left[near], right[near], similarity[near]))
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))  # type: ignore[return-value]


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[i : i + BLOCK] for i in range(0, len(rows), BLOCK))


def _joined(how: str, found: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Pairs:
    import numpy as np

    if not found:
        return Pairs(how, np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    left, right, similarity = (np.concatenate(column) for column in zip(*found, strict=True))
    return Pairs(how, left, right, similarity.astype(np.float64))
