"""The store over a real Milvus Lite: what is found, for whom, and that an index is filled once."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st
from milvus_lite.server_manager import server_manager_instance

from serving.retrieval import store as module
from serving.retrieval.store import MilvusStore, Query, own, served_quantization, tenant_filter
from tests.indexes import PAGES, VOCABULARY, bag_of_words, tiny_index
from tests.serving.retrieval.conftest import hit
from tests.waiting import eventually
from thumbwheel.errors import IndexDamageError
from thumbwheel.knowledge import read_record

ALL = ("public", "acme", "umbrella")


def query(text: str) -> Query:
    return Query((text,), bag_of_words([text]), 1)


def test_what_is_meant_and_what_is_written_is_found_with_its_cosine(store: MilvusStore) -> None:
    first = store.search(query("What does the red light mean?"), ["public"], 5)[0]
    assert (first.title, first.link) == ("Lights of the Hub", "https://help.example/0")
    assert 0.5 < first.cosine <= 1.0


def test_a_word_that_no_vector_knows_is_found_by_bm25(store: MilvusStore) -> None:
    found = store.search(query("pairing"), ["public"], 1)
    assert [one.title for one in found] == ["Lights of the Hub"]


def test_a_tenant_never_sees_anothers_document(store: MilvusStore) -> None:
    found = store.search(query("How many days until a refund?"), ["public", "acme"], 10)
    assert found[0].title == "Refunds at Acme"
    assert {one.tenant for one in found} == {"public", "acme"}


@trials(max_examples=25)
@given(
    st.lists(st.sampled_from((*VOCABULARY, "pairing", "fault")), min_size=1, max_size=4), st.sets(st.sampled_from(ALL))
)
def test_no_question_crosses_tenants(store: MilvusStore, words: list[str], tenants: set[str]) -> None:
    text = " ".join(words)
    if not tenants:
        with pytest.raises(ValueError, match="no tenant"):
            store.search(query(text), [], 10)
        return
    assert {one.tenant for one in store.search(query(text), sorted(tenants), 10)} <= tenants


@given(st.lists(st.tuples(st.integers(0, 99), st.sampled_from(ALL)), max_size=30), st.sets(st.sampled_from(ALL)))
def test_what_milvus_gave_of_others_is_dropped(rows: list[tuple[int, str]], tenants: set[str]) -> None:
    hits = [hit(number, tenant) for number, tenant in rows]
    assert own(hits, sorted(tenants)) == [one for one in hits if one.tenant in tenants]


@pytest.mark.parametrize("name", ['a"] or tenant != "', "A", "", "a b", "a\n", "ä", "-a"])
def test_a_name_that_would_need_quoting_never_reaches_a_filter(name: str) -> None:
    with pytest.raises(ValueError, match="no tenant's name"):
        tenant_filter(["public", name])


def test_guesses_are_searched_by_and_tell_nothing_of_relevance(store: MilvusStore) -> None:
    vectors = bag_of_words(["unheard of", "red light"])
    found = store.search(Query(("unheard of",), vectors, 1), ["public"], 2)
    assert found[0].title == "Lights of the Hub"
    assert found[0].cosine < 0.7


def test_a_filled_index_is_used_again_and_another_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_index(tmp_path / "index")
    first = MilvusStore(str(tmp_path / "milvus.db"), tmp_path / "index", 10, 60, 20)
    first.open()
    first.close()
    monkeypatch.setattr(module, "fill", lambda *_: pytest.fail("it was filled again"))
    again = MilvusStore(str(tmp_path / "milvus.db"), tmp_path / "index", 10, 60, 20)
    assert again.search(query("red light"), ["public"], 1)
    again.close()

    monkeypatch.undo()
    tiny_index(tmp_path / "index", PAGES[:2])
    other = MilvusStore(str(tmp_path / "milvus.db"), tmp_path / "index", 10, 60, 20)
    assert len(other.search(query("red light valve frost refund"), list(ALL), 10)) == 2
    assert other._opened is not None
    assert len(other._opened[0].list_collections()) == 1
    other.close()


def test_an_index_that_was_filled_by_half_is_filled_up(tmp_path: Path) -> None:
    tiny_index(tmp_path / "index")
    store = MilvusStore(str(tmp_path / "milvus.db"), tmp_path / "index", 10, 60, 20)
    store.open()
    assert store._opened is not None
    client, name, _ = store._opened
    client.delete(name, filter='tenant == "acme"')
    store.close()
    again = MilvusStore(str(tmp_path / "milvus.db"), tmp_path / "index", 10, 60, 20)
    assert again.search(query("refund"), ["acme"], 1)
    again.close()


@pytest.mark.parametrize("kind", ["sq8", "pq"])
def test_quantized_vectors_find_the_same_pages(kind: str, tmp_path: Path) -> None:
    rows = [*PAGES, *[("public", f"Note {n}", f"Note {n} of {VOCABULARY[n % 8]} and parcel {n}") for n in range(200)]]
    tiny_index(tmp_path / "index", rows, kind)  # type: ignore[arg-type]
    store = MilvusStore(str(tmp_path / "milvus.db"), tmp_path / "index", 10, 60, 20)
    assert store.search(query("days of a refund"), ["acme"], 1)[0].title == "Refunds at Acme"
    store.close()


def test_lite_keeps_a_byte_a_number_where_it_lacks_product_quantization(tmp_path: Path) -> None:
    tiny_index(tmp_path, quantization="pq")
    record = read_record(tmp_path)
    assert (served_quantization(record, is_lite=True), served_quantization(record, is_lite=False)) == ("sq8", "pq")


def test_milvus_lite_starts_no_process_and_ends_with_the_store(tmp_path: Path) -> None:
    tiny_index(tmp_path / "index")
    before = psutil.Process().children(recursive=True)
    store = MilvusStore(str(tmp_path / "milvus.db"), tmp_path / "index", 10, 60, 20)
    store.open()
    assert psutil.Process().children(recursive=True) == before
    assert store._opened is not None
    address = server_manager_instance.start_and_get_uri(str(tmp_path / "milvus.db"))
    port = int(str(address).rpartition(":")[2])
    assert listens(port)
    store.close()
    assert eventually(lambda: not listens(port))


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_milvus_that_is_away_is_an_error_within_its_time(tmp_path: Path) -> None:
    from pymilvus import MilvusException

    tiny_index(tmp_path)
    store = MilvusStore("http://127.0.0.1:9", tmp_path, 10, 60, 0.5)
    with pytest.raises(MilvusException):
        store.search(query("red"), ["public"], 1)


def test_an_index_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(IndexDamageError, match="dvc repro index"):
        MilvusStore(str(tmp_path / "milvus.db"), tmp_path / "none", 10, 60, 1).open()


def test_the_fake_model_gives_unit_vectors() -> None:
    assert np.allclose(np.linalg.norm(bag_of_words(["red light", "nothing"]), axis=1), 1)
