"""Chunks: nothing is lost, none is too long, and an id changes with the words and with nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stages.documents.chunks import Chunk, Origin, chunks_of, pieces
from stages.documents.readers import Document, Section

ORIGIN = Origin("help/hub.md", "public", None)
SENTENCES = st.lists(st.lists(st.text("abcde", min_size=1, max_size=6), min_size=1, max_size=9), max_size=12)


def words(text: str) -> int:
    return len(text.split())


def chunks(document: Document, tokens: int = 6, overlap: int = 2, origin: Origin = ORIGIN) -> list[Chunk]:
    return list(chunks_of(document, origin, words, tokens, overlap))


def test_a_text_is_cut_between_sentences() -> None:
    assert pieces("One two three. Four five. Six seven eight.", words, 5, 0) == [
        "One two three. Four five.",
        "Six seven eight.",
    ]


def test_a_piece_begins_with_the_last_sentence_of_the_one_before_where_it_is_short() -> None:
    assert pieces("A b c. D e. F g h.", words, 5, 2) == ["A b c. D e.", "D e. F g h."]


def test_a_chunk_carries_the_titles_above_it() -> None:
    document = Document("Hub", (Section(("Lights", "Red"), "A fault."), Section((), "Intro.")))
    assert [chunk.title for chunk in chunks(document)] == ["Hub > Lights > Red", "Hub"]


def test_a_heading_that_repeats_the_title_stands_there_once() -> None:
    assert chunks(Document("Hub", (Section(("Hub",), "Text."),)))[0].title == "Hub"


def test_equal_words_under_equal_headings_come_once() -> None:
    document = Document("Hub", (Section(("page 1",), "Imprint."), Section(("page 1",), "Imprint.")))
    assert len(chunks(document)) == 1


def test_an_id_changes_with_tenant_source_title_and_words_alone() -> None:
    plain = Document("Hub", (Section((), "One two."),))
    (first,) = chunks(plain)
    others = [
        chunks(plain, origin=Origin("help/hub.md", "acme", None)),
        chunks(plain, origin=Origin("help/hub2.md", "public", None)),
        chunks(Document("Hub 2", plain.sections)),
        chunks(Document("Hub", (Section((), "One three."),))),
    ]
    assert len({first.id, *(chunk.id for (chunk,) in others)}) == 5
    assert chunks(plain, origin=Origin("help/hub.md", "public", "https://help.example/hub"))[0].id == first.id


@given(SENTENCES, st.integers(1, 12), st.integers(0, 6))
def test_no_word_is_lost_and_no_piece_is_too_long(sentences: list[list[str]], tokens: int, overlap: int) -> None:
    text = ". ".join(" ".join(sentence) for sentence in sentences)
    found = pieces(text, words, tokens, overlap)
    assert all(0 < words(piece) <= tokens for piece in found)
    rest = iter([word for piece in found for word in piece.split()])
    assert all(any(word == other for other in rest) for word in text.split())


@given(SENTENCES, st.integers(1, 12))
def test_without_overlap_the_pieces_are_the_text(sentences: list[list[str]], tokens: int) -> None:
    text = ". ".join(" ".join(sentence) for sentence in sentences)
    assert " ".join(pieces(text, words, tokens, 0)).split() == text.split()
