"""The kernels agree with the definition, and the signatures with datasketch, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stages.duplicates.bands import sorted_bands
from stages.duplicates.clusters import forest, link_within, roots, sketch
from stages.duplicates.dedup_params import SketchParams
from stages.duplicates.minhash import band_keys, row_keys, signatures
from stages.duplicates.rows import Folded
from stages.duplicates.words import Parts, fold, jaccard, shingles

PARAMS = SketchParams(words=5, permutations=128, bands=25, rows=5, seed=1)
TEXTS = st.text(st.sampled_from("abcde \n.é漢ก"), max_size=60)
ROWS = st.lists(st.lists(st.tuples(st.sampled_from(["a", "b"]), TEXTS), max_size=3), max_size=6)
NEAR = st.lists(st.text(st.sampled_from("ab "), min_size=10, max_size=25), min_size=1, max_size=12)


def folded(rows: Sequence[Parts]) -> Folded:
    """Return rows folded by the definition."""
    data = [fold(parts) for parts in rows]
    at = np.cumsum([0, *map(len, data)], dtype=np.int64)
    return Folded(np.frombuffer(b"".join(data), np.uint8).copy(), at)


@settings(max_examples=50)
@given(ROWS, st.integers(0, 2**32 - 1), st.sampled_from([1, 7, 128]))
def test_signatures_are_those_of_datasketch_bit_for_bit(rows: list[Parts], seed: int, permutations: int) -> None:
    from datasketch import MinHash

    params = SketchParams(words=3, permutations=permutations, bands=1, rows=1, seed=seed)
    signed = signatures(folded(rows), params)
    for parts, row in zip(rows, signed, strict=True):
        theirs = MinHash(num_perm=permutations, seed=seed, scheme="affine32", hashfunc=low_half)
        theirs.update_batch(list(shingles(parts, 3)))
        assert row.tolist() == theirs.hashvalues.tolist()


def low_half(gram: bytes) -> int:
    return int.from_bytes(gram[:4], "little")


@given(ROWS)
def test_band_keys_are_equal_where_and_only_where_the_bands_are(rows: list[Parts]) -> None:
    signed, keys = signatures(folded(rows), PARAMS), band_keys(folded(rows), PARAMS)[0]
    bands = signed[:, :125].reshape(len(rows), 25, 5)
    for i in range(len(rows)):
        for j in range(i):
            assert ((keys[:, i] == keys[:, j]) == (bands[i] == bands[j]).all(axis=1)).all()


@given(st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=2), max_size=300), st.integers(0, 60))
def test_bands_are_sorted_and_rows_of_one_key_stay_in_order(numbers: list[list[int]], shift: int) -> None:
    keys = np.array(numbers, np.uint64).reshape(-1, 2).T << np.uint64(shift)
    bands = sorted_bands(np.ascontiguousarray(keys))
    for band in range(2):
        order = np.argsort(keys[band], kind="stable")
        assert bands.rows[band].tolist() == order.tolist()
        assert bands.keys[band].tolist() == keys[band, order].tolist()


@given(st.lists(st.binary(max_size=20), max_size=8), st.integers(0, 2**63))
@example([b"", b"\x02"], 2)
def test_row_keys_tell_rows_apart(rows: list[bytes], seed: int) -> None:
    at = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    keys = row_keys(Folded(np.frombuffer(b"".join(rows) or b" ", np.uint8), at), seed).tolist()
    assert [[a == b for a in rows] for b in rows] == [[a == b for a in keys] for b in keys]


@settings(max_examples=60)
@given(NEAR, st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_clusters_are_the_components_of_all_similar_candidates(texts: list[str], threshold: float) -> None:
    rows = [[("", text)] for text in texts]
    params = PARAMS.model_copy(update={"words": 2})
    some, keys = sketch(folded(rows), params), band_keys(folded(rows), params)[0]
    parents = forest(len(rows), np.empty((0, 2), np.int64))
    edges = link_within(some, 0, parents, 2, threshold).pairs
    grams = [shingles(parts, 2) for parts in rows]
    pairs = [
        (i, j)
        for i in range(len(rows))
        for j in range(i)
        if (keys[:, i] == keys[:, j]).any() and jaccard(grams[i], grams[j]) >= threshold
    ]
    expected = roots(forest(len(rows), np.array(pairs, np.int64).reshape(-1, 2)))
    assert roots(parents).tolist() == expected.tolist()
    assert roots(forest(len(rows), edges)).tolist() == expected.tolist()
    assert len(edges) == len(rows) - len(np.unique(expected))


def test_bands_that_do_not_fit_are_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="26 bands x 5 rows do not fit 128 permutations"):
        SketchParams(words=5, permutations=128, bands=26, rows=5, seed=1)
