"""Topics are found, named and reported, and decide nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stages.sides.items import Item, read_corpus
from stages.sides.topics import TopicParams, Topics, coverage, find_topics, name_topics, project

PARAMS = TopicParams(clusters=2, topic_terms=2, topic_fit_rows=6, topic_least_rows=3)


def corpus(*texts: str):  # type: ignore[no-untyped-def]
    return read_corpus([Item(str(i), "conversations", (text,), ("balcony balcony",)) for i, text in enumerate(texts)])


def test_what_means_alike_is_one_topic_also_beyond_the_rows_that_are_fitted() -> None:
    vectors = np.array([[1, 0], [0, 1]] * 10, np.float32)
    topics = find_topics(vectors, corpus(*["valve tap", "hub light"] * 10), PARAMS, seed=1)
    assert len(set(topics.labels[::2])) == len(set(topics.labels[1::2])) == 1
    assert topics.labels[0] != topics.labels[1]
    assert topics.terms[topics.labels[0]] == "valve, tap"


def test_fewer_different_rows_than_topics_make_fewer_topics() -> None:
    assert len(find_topics(np.ones((3, 2), np.float32), corpus("a", "b", "c"), PARAMS, seed=1).terms) == 1


def test_names_come_from_what_users_say_without_stop_words_numbers_and_short_words() -> None:
    assert name_topics(np.array([0]), 1, corpus("The valve is ok, 2024 valves: the VALVE!"), 2) == ["valve, valves"]
    assert name_topics(np.array([0]), 1, corpus("?"), 2) == [""]
    assert name_topics(np.array([0]), 1, corpus(f"{'x' * 900} {'x' * 900} tap"), 2) == ["tap"]


def test_what_a_template_says_in_every_row_of_several_topics_names_none_of_them() -> None:
    said = [f"Answer true or false, question: {about}" for about in ("tap", "valve tap", "hub", "light hub")]
    named = name_topics(np.array([0, 0, 1, 1, 2]), 3, corpus(*said, "write poem"), 2)
    assert named == ["tap, valve", "hub, light", "write, poem"]


def test_a_topic_without_a_word_of_its_own_is_named_by_what_it_says_most() -> None:
    assert name_topics(np.array([0, 0, 1, 1]), 2, corpus("tap", "tap", "tap", "hub"), 1) == ["tap", "hub"]
    assert name_topics(np.array([0, 1]), 2, corpus("tap", "tap"), 1) == ["tap", "tap"]


def test_single_letters_name_a_topic_that_has_no_other_words() -> None:
    assert name_topics(np.array([0]), 1, corpus("水阀，水a"), 2) == ["水, 阀"]


def test_coverage_counts_what_is_kept_and_names_the_sides_that_a_large_topic_lacks() -> None:
    topics = Topics(np.array([0, 0, 0, 0, 1, 1]), ["big", "small"])
    where = ["train", "train", "test", "validation", "train", "train"]
    whole = coverage(topics, where, (), 3)
    assert [(t["terms"], t["rows"], t["train"], t["lacks"]) for t in whole] == [("big", 4, 2, ""), ("small", 2, 2, "")]
    assert coverage(topics, where, {2}, 3)[0]["lacks"] == "test"


@given(
    st.lists(st.tuples(st.floats(-1, 1, width=32), st.floats(-1, 1, width=32), st.floats(-1, 1, width=32)), min_size=1)
)
def test_the_map_is_centred_and_its_first_axis_spreads_most(rows: list[tuple[float, float, float]]) -> None:
    places = project(np.array(rows, np.float32))
    assert places.shape == (len(rows), 2)
    assert np.allclose(places.mean(axis=0), 0, atol=1e-5)
    assert places[:, 0].var() >= places[:, 1].var() - 1e-9
