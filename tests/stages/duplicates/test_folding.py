"""The folding kernel and the definition agree on any text, and nothing in a text can break it."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.duplicates import rows as ranges
from stages.duplicates.alphabet import MARK, SEPARATOR, SINGLE, SIZE, alphabet
from stages.duplicates.folding import Documents, fold_documents, row_parts
from stages.duplicates.rows import Folded, joined_rows, only_rows, over_rows
from stages.duplicates.words import fold

SCRIPTS = st.text(
    st.one_of(
        st.sampled_from("aB_9 \n-.é\u0301ßÅẞŉǰΐﷺ…½²™ﬁ\u00a0\u200b\u00ad\ufe0f\u200d\ud800\U000e0041¯´¨ͺ\u0323\u0345"),
        st.characters(min_codepoint=0x590, max_codepoint=0x1200),
        st.characters(min_codepoint=0x1780, max_codepoint=0x1B00),
        st.characters(min_codepoint=0x3000, max_codepoint=0x3400),
        st.characters(min_codepoint=0xAC00, max_codepoint=0xFFFF),
        st.characters(min_codepoint=0x1F300, max_codepoint=0x20010),
        st.characters(),
    ),
    max_size=25,
)
PIECES = st.lists(st.tuples(st.sampled_from(["a", "b"]), SCRIPTS), max_size=4)


def documents(rows: Sequence[Sequence[tuple[str, str | bytes]]]) -> Documents:
    """Return rows of (part, text) as documents, the pieces of a part together."""
    names = ("a", "b")
    pieces = [(names.index(name), text) for row in rows for name, text in sorted(row, key=lambda piece: piece[0])]
    data = [text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass") for _, text in pieces]
    ends = np.cumsum([0, *map(len, data)], dtype=np.int64)
    at = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    text = np.frombuffer(b"".join(data) or b" ", np.uint8).copy()
    return Documents(text, ends[:-1], ends[1:], np.array([part for part, _ in pieces], np.int64), at, names)


def by_kernel(some: Documents) -> list[bytes]:
    folded = fold_documents([some])
    return [folded.row(row) for row in range(len(folded))]


@settings(max_examples=300)
@given(st.lists(PIECES, max_size=4))
@example([[("a", "가\u11a8")], [("a", "\u1100\u1161")], [("a", "q\u0307\u0323")], [("a", "ｶﾞ")]])
@example([[("a", "¯\\_(ツ)_/¯ don´t")], [("a", "a¯\u0323b ´\u0301\u0316c")], [("a", "¨\u0308"), ("b", "ͺ\u0323ͺ")]])
def test_the_kernel_folds_as_the_definition_does(rows: list[list[tuple[str, str]]]) -> None:
    some = documents(rows)
    assert by_kernel(some) == [fold(row_parts(some, row)) for row in range(len(rows))]


def test_every_code_point_folds_as_the_definition_does() -> None:
    letters = alphabet()
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    rows = [[("a", "".join(f"x{chr(code)}y " for code in codes[start : start + 64]))] for start in range(0, SIZE, 64)]
    some = documents(rows)
    assert by_kernel(some) == [fold(row) for row in rows]
    assert len(codes[:SIZE]) - letters.hard.sum() > 20_000
    assert not letters.hard[[ord(accent) for accent in "¯´¨¸˘"]].any()


def test_the_table_knows_marks_and_single_letters() -> None:
    letters = alphabet()
    kinds = {char: letters.folded[letters.at[ord(char)]] & 3 for char in "漢ก\u0947।"}
    assert kinds == {"漢": SINGLE, "ก": SINGLE, "\u0947": MARK, "।": SEPARATOR}
    assert letters.order[0x94D] == unicodedata.combining("\u094d") > 0


@given(st.lists(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.binary(max_size=30)), max_size=3), max_size=4))
@example([[("a", b"\xed\xa0\x80")], [("a", b"\xf0\x9f")], [("a", b"\xc0\x80\x00")], [("a", b"\xff\xfe")]])
def test_bytes_that_are_no_text_neither_break_it_nor_vanish(rows: list[list[tuple[str, bytes]]]) -> None:
    some = documents(rows)
    assert by_kernel(some) == [fold(row_parts(some, row)) for row in range(len(rows))]


@pytest.mark.parametrize("text", ["word " * 2_000_000, "x" * 10_000_000, "漢" * 3_000_000, "\x00" * 1_000_000])
def test_a_row_of_ten_megabytes_is_one_row(text: str) -> None:
    some = documents([[("a", "small")], [("a", text)], [("a", "last")]])
    rows = by_kernel(some)
    assert [len(rows), rows[0], rows[2]] == [3, b"a\x1fsmall\x1e", b"a\x1flast\x1e"]
    assert rows[1] == fold([("a", text)])


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["\ufdfa", "\ufdfa \u0323x", "plain words", "é", "q\u0323"]), max_size=8))
def test_rows_that_grow_beyond_their_room_push_nothing_aside(texts: list[str]) -> None:
    some = documents([[("a", text * 30)] for text in texts])
    assert by_kernel(some) == [fold(row_parts(some, row)) for row in range(len(texts))]


@given(st.lists(SCRIPTS, max_size=12))
def test_rows_are_the_same_in_whatever_chunks_they_are_folded(texts: list[str]) -> None:
    some = documents([[("a", text)] for text in texts])
    whole = by_kernel(some)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "CHUNK", 8)
        assert by_kernel(some) == whole


@given(st.lists(st.integers(0, 50), max_size=20))
def test_every_row_is_in_one_range(sizes: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "CHUNK", 16)
        found = over_rows(lambda a, b: list(range(a, b)), np.cumsum([0, *sizes]))
    assert [row for some in found for row in some] == list(range(len(sizes)))


@given(st.lists(st.binary(max_size=5), max_size=8), st.data())
def test_only_the_rows_asked_for_are_left(rows: list[bytes], data: st.DataObject) -> None:
    left = sorted(data.draw(st.sets(st.integers(0, len(rows) - 1))) if rows else [])
    at = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    some = only_rows(Folded(np.frombuffer(b"".join(rows) or b" ", np.uint8).copy(), at), np.array(left, np.int64))
    assert [some.row(i) for i in range(len(some))] == [rows[i] for i in left]


@given(st.lists(st.binary(max_size=5), min_size=1, max_size=6), st.data())
def test_picked_rows_are_those_asked_for_in_that_order(rows: list[bytes], data: st.DataObject) -> None:
    picked = data.draw(st.lists(st.integers(0, len(rows) - 1)))
    at = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    some = joined_rows(Folded(np.frombuffer(b"".join(rows) or b" ", np.uint8), at), np.array(picked, np.int64))
    assert [some.row(i) for i in range(len(picked))] == [rows[i] for i in picked]
