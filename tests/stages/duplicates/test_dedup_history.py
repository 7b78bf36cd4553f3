"""A history that grows batch by batch finds the clusters of one run, is found again, and survives a kill."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.duplicates import dedup_history
from stages.duplicates.dedup_history import History, id_keys, kept_history
from stages.duplicates.dedup_params import SketchParams
from tests.stages.duplicates.test_minhash import folded
from thumbwheel.lake import write_json

PARAMS = SketchParams(words=2, permutations=128, bands=25, rows=5, seed=1)
TEXTS = st.lists(st.text(st.sampled_from("ab "), min_size=8, max_size=20), min_size=1, max_size=14)


def add(history: History, texts: list[str]) -> np.ndarray:
    keys = id_keys(pa.chunked_array([pa.array(texts, pa.string())]), 1)
    return history.add(keys, folded([[("", text)] for text in texts]))


def fresh() -> History:
    return History(PARAMS, 0.5)


def partition(history: History, documents: np.ndarray) -> list[int]:
    """Return for each row the first row of its cluster."""
    clusters = history.clusters()[documents].tolist()
    return [clusters.index(cluster) for cluster in clusters]


@settings(max_examples=60)
@given(TEXTS, st.lists(st.integers(0, 14), max_size=4))
def test_batches_give_the_clusters_of_one_run(texts: list[str], cuts: list[int]) -> None:
    whole, parts = fresh(), fresh()
    bounds = sorted({0, len(texts), *(cut for cut in cuts if cut < len(texts))})
    places = [add(parts, texts[a:b]) for a, b in itertools.pairwise(bounds)]
    documents = add(whole, texts)
    assert np.concatenate(places).tolist() == documents.tolist()
    assert partition(parts, np.concatenate(places)) == partition(whole, documents)


@settings(max_examples=40)
@given(TEXTS)
def test_equal_rows_are_one_document_and_rows_are_found_by_their_id(texts: list[str]) -> None:
    history = fresh()
    documents = np.concatenate([add(history, texts[:5]), add(history, texts[5:])])
    folds = [folded([[("", text)]]).row(0) for text in texts]
    assert [[a == b for a in folds] for b in folds] == [[a == b for a in documents] for b in documents]
    assert history.find(id_keys(pa.chunked_array([pa.array(texts)]), 1)).tolist() == documents.tolist()
    assert history.find(id_keys(pa.chunked_array([["another"]]), 1)).tolist() == [-1]
    assert history.size == len(set(folds))


@settings(max_examples=40)
@given(TEXTS)
def test_a_similarity_is_the_same_whether_it_was_measured_before_or_not(texts: list[str]) -> None:
    history = fresh()
    documents = np.concatenate([add(history, texts[:7]), add(history, texts[7:])])
    first, again = documents, np.roll(documents, 1)
    measured = history.similarities(first, again)
    assert history.similarities(first, again).tolist() == measured.tolist()
    alone = fresh()
    documents = add(alone, texts)
    assert alone.similarities(documents, np.roll(documents, 1)).tolist() == measured.tolist()


def test_a_history_begun_anew_measures_its_new_documents() -> None:
    history = fresh()
    history.similarities(add(history, ["a b c d"]), add(history, ["a b c e"]))
    history.forget()
    left, right = add(history, ["x y z"]), add(history, ["x y z w"])
    assert history.similarities(left, right).tolist() == [2 / 3]


def test_rows_with_one_hash_and_other_bytes_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup_history, "row_keys", lambda rows, seed: np.zeros(len(rows), np.uint64))
    history = fresh()
    documents = add(history, ["one two three", "four five six", "one, two, three"])
    assert documents.tolist()[:2] == [0, 1]
    assert history.clusters()[documents].tolist() == [0, 1, 0]


def batch(seed: int, size: int = 40) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices("abc", k=9)) for _ in range(size)]


def kept(folder: Path, texts: list[str], threshold: float = 0.5) -> tuple[int, list[int]]:
    """Add texts to a kept history; return how many documents it knew before, and all clusters after."""
    with kept_history(folder, PARAMS, threshold) as history:
        before = history.size
        documents = add(history, texts)
        history.similarities(documents, np.roll(documents, 1))
        return before, history.clusters().tolist()


def test_a_kept_history_is_found_again_and_grows(tmp_path: Path) -> None:
    kept(tmp_path, batch(1))
    before, clusters = kept(tmp_path, batch(2))
    alone = fresh()
    first = add(alone, batch(1))
    add(alone, batch(2))
    assert before == len(set(first.tolist()))
    assert clusters == alone.clusters().tolist()


def test_killed_before_the_head_is_written_nothing_has_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(tmp_path, batch(1))
    head = (tmp_path / "head.json").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(dedup_history, "write_json", _killed)
        with pytest.raises(InterruptedError):
            kept(tmp_path, batch(2))
    assert (tmp_path / "head.json").read_bytes() == head
    assert kept(tmp_path, batch(2))[1] == kept(tmp_path / "other", batch(1) + batch(2))[1]


def test_killed_while_a_segment_is_written_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(tmp_path, batch(1))
    with monkeypatch.context() as patch:
        patch.setattr(dedup_history, "write_arrays", _killed)
        with pytest.raises(InterruptedError):
            kept(tmp_path, batch(2))
    assert list(tmp_path.glob("part-*"))
    kept(tmp_path, batch(2))
    names = json.loads((tmp_path / "head.json").read_text())
    assert {path.name for path in tmp_path.iterdir()} == {*names["segments"], names["measured"], "lock", "head.json"}


def _killed(*_: object) -> None:
    raise InterruptedError


@pytest.mark.parametrize("damage", ["truncated", "missing", "no json", "another format"])
def test_a_damaged_history_is_begun_anew(tmp_path: Path, damage: str) -> None:
    clusters = kept(tmp_path, batch(1))[1]
    head = tmp_path / "head.json"
    segment = tmp_path / json.loads(head.read_text())["segments"][0]
    if damage == "truncated":
        segment.write_bytes(segment.read_bytes()[:-200])
    elif damage == "missing":
        segment.unlink()
    elif damage == "no json":
        head.write_text("{")
    else:
        write_json(head, {**json.loads(head.read_text()), "format": "0"})
    assert kept(tmp_path, batch(1)) == (0, clusters)


def test_what_an_earlier_format_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "segment").mkdir()
    (tmp_path / "segment" / "text.npy").write_bytes(b"what was erased")
    kept(tmp_path, batch(1))
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_history_made_with_other_parameters_is_begun_anew(tmp_path: Path) -> None:
    kept(tmp_path, batch(1))
    assert kept(tmp_path, batch(2), threshold=0.6)[0] == 0


def test_a_history_of_many_segments_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup_history, "MOST_SEGMENTS", 2)
    assert [kept(tmp_path, batch(i, 3))[0] > 0 for i in range(4)] == [False, True, False, True]


def test_what_linking_found_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = "a b c d e f g h", "a b c d e f g x"
    with kept_history(tmp_path, PARAMS, 0.5) as history:
        first = add(history, [one, "p q r s t u v w"])
    with kept_history(tmp_path, PARAMS, 0.5) as history:
        second = add(history, [other])
    with kept_history(tmp_path, PARAMS, 0.5) as history, monkeypatch.context() as patch:
        patch.setattr(dedup_history, "similarities", _killed)
        assert history.similarities(second, first[:1]).tolist() == [6 / 8]
