"""What a kernel sees of many bytes at once is what Python sees of each."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from stages.duplicates.hashing import hashed
from stages.duplicates.vectors import (
    LANES,
    LINE,
    ascii_words,
    beyond_ascii,
    bits_in,
    copy_letters,
    eight_bytes,
    ends_of_words,
    first_bit,
    lower_least,
    move_bytes,
)
from stages.duplicates.words import _word_hash

LINES = st.binary(min_size=LINE + 3, max_size=LINE + 3)
BITS = st.integers(0, 2**64 - 1)


@njit
def seen(text: np.ndarray, i: int) -> tuple[int, int, int, int]:
    return ascii_words(text, i), beyond_ascii(text, i), ends_of_words(text, i), eight_bytes(text, i)


@njit
def copied(text: np.ndarray, i: int, letters: np.uint64, kept: np.uint64, out: np.ndarray, n: int) -> None:
    copy_letters(text, i, letters, kept, out, n)


@njit
def lowered(
    least: np.ndarray, k: int, factors: np.ndarray, offsets: np.ndarray, values: np.ndarray, count: int
) -> None:
    lower_least(least, k, factors, offsets, values, count)


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
@given(LINES, st.integers(0, 3), BITS, BITS, st.integers(0, 9))
def test_what_is_kept_stands_side_by_side_in_lower_case(data: bytes, i: int, letters: int, kept: int, n: int) -> None:
    out = array(bytes(LINE + 20))
    copied(array(data), i, np.uint64(letters), np.uint64(kept), out, n)
    plain = [data[i + k : i + k + 1].lower() if letters >> k & 1 else b" " for k in range(LINE)]
    expected = b"".join(plain[k] for k in range(LINE) if kept >> k & 1)
    assert out[n : n + len(expected)].tobytes() == expected
    assert not out[:n].any() and not out[n + LINE :].any()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1), max_size=9), st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_every_permutation_finds_its_least_value(values: list[int], seed: int, k: int) -> None:
    factors, offsets, before = np.random.default_rng(seed).integers(0, 2**32, (3, LANES + 5), dtype=np.uint32)
    least = before.copy()
    lowered(least, k, factors, offsets, np.array([*values, 0], np.uint32), len(values))
    found = [(factors[k : k + LANES] * np.uint32(value) + offsets[k : k + LANES]) for value in values]
    expected = np.min([before[k : k + LANES], *found], axis=0)
    assert least.tolist() == [*before[:k], *expected, *before[k + LANES :]]


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
