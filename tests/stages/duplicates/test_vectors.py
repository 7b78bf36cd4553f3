"""What a kernel sees of many bytes at once is what Python sees of each."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from stages.duplicates.hashing import hashed
from stages.duplicates.vectors import (
    HALF_LINE,
    LINE,
    ascii_words,
    beyond_ascii,
    bits_in,
    copy_lower,
    eight_bytes,
    ends_of_words,
    first_bit,
    move_bytes,
)
from stages.duplicates.words import _word_hash

LINES = st.binary(min_size=LINE + 3, max_size=LINE + 3)
BITS = st.integers(0, 2**64 - 1)


@njit
def seen(text: np.ndarray, i: int) -> tuple[int, int, int, int]:
    return ascii_words(text, i), beyond_ascii(text, i), ends_of_words(text, i), eight_bytes(text, i)


@njit
def lowered(text: np.ndarray, i: int, out: np.ndarray, n: int) -> None:
    copy_lower(text, i, out, n)


@njit
def moved(data: np.ndarray, i: int, n: int, count: int) -> None:
    move_bytes(data, i, data, n, count)


@njit
def counted(bits: np.uint64) -> tuple[int, int]:
    return first_bit(bits), bits_in(bits)


def array(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8).copy()


@settings(max_examples=50, deadline=None)
@given(LINES, st.integers(0, 3))
def test_each_bit_is_about_its_byte(data: bytes, i: int) -> None:
    line = data[i : i + LINE]
    letters, strange, ends, eight = seen(array(data), i)
    assert [letters >> k & 1 for k in range(LINE)] == [bytes([c]).isalnum() for c in line]
    assert [strange >> k & 1 for k in range(LINE)] == [c > 127 for c in line]
    assert [ends >> k & 1 for k in range(LINE)] == [c in b" \x1e" for c in line]
    assert eight == int.from_bytes(line[:8], "little")


@settings(max_examples=50, deadline=None)
@given(LINES, st.integers(0, 3), st.integers(0, 9))
def test_copies_are_in_lower_case_and_no_longer_than_they_say(data: bytes, i: int, n: int) -> None:
    out = array(bytes(40))
    lowered(array(data), i, out, n)
    assert out.tobytes() == bytes(n) + data[i : i + HALF_LINE].lower() + bytes(40 - HALF_LINE - n)


@settings(max_examples=50, deadline=None)
@given(LINES, st.integers(0, 20), st.integers(0, 20), st.integers(0, 40))
def test_bytes_move_over_themselves_unharmed(data: bytes, i: int, n: int, count: int) -> None:
    some = array(data)
    moved(some, i, n, count)
    assert some.tobytes() == data[:n] + data[i : i + count] + data[n + count :]


@settings(deadline=None)
@given(st.one_of(st.sampled_from([0, 2**63, 2**64 - 1]), BITS))
def test_bits_are_found_and_counted(bits: int) -> None:
    binary = f"{bits:064b}"[::-1]
    assert counted(np.uint64(bits)) == (binary.find("1") if bits else 64, binary.count("1"))


@settings(deadline=None)
@given(st.text(max_size=40), st.binary(max_size=20), st.binary(max_size=20))
def test_a_word_has_one_hash_wherever_it_stands(word: str, before: bytes, after: bytes) -> None:
    data = word.encode("utf-8", "surrogatepass")
    around = array(before + data + after + b"\0")[:-1]
    assert hashed(around, len(before), len(data), np.uint64(0)) == _word_hash(word)
