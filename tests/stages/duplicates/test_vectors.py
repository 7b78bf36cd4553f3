"""What a kernel sees of many bytes at once is what Python sees of each."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from stages.duplicates.eights import EMPTY, bits_beyond, copy_used, lower_least, shared_of_eight
from stages.duplicates.hashing import hash_words, hashed
from stages.duplicates.words import _word_hash
from stages.vectors.lines import (
    ascii_words,
    beyond_ascii,
    bits_in,
    blanks_in,
    copy_letters,
    eight_bytes,
    first_bit,
    move_bytes,
    record_separators,
)
from stages.vectors.llvm import EIGHT, LANES, LINE

LINES = st.binary(min_size=LINE + 3, max_size=LINE + 3)
BITS = st.integers(0, 2**64 - 1)


@njit
def seen(text: np.ndarray, i: int) -> tuple[int, int, int, int, int]:
    spaces, ends = blanks_in(text, i), record_separators(text, i)
    return ascii_words(text, i), beyond_ascii(text, i), spaces, ends, eight_bytes(text, i)


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
    letters, strange, spaces, ends, eight = seen(array(data), i)
    assert [letters >> k & 1 for k in range(LINE)] == [bytes([c]).isalnum() for c in line]
    assert [strange >> k & 1 for k in range(LINE)] == [c > 127 for c in line]
    assert [spaces >> k & 1 for k in range(LINE)] == [c == ord(" ") for c in line]
    assert [ends >> k & 1 for k in range(LINE)] == [c == 0x1E for c in line]
    assert eight == int.from_bytes(line[:8], "little")


@settings(max_examples=50, deadline=None)
@given(LINES, st.integers(0, 3), BITS, BITS, st.integers(0, 9))
def test_what_is_kept_stands_side_by_side_in_lower_case(data: bytes, i: int, letters: int, kept: int, n: int) -> None:
    out = array(bytes(LINE + 20))
    copied(array(data), i, np.uint64(letters), np.uint64(kept), out, n)
    plain = [data[i + k : i + k + 1].lower() if letters >> k & 1 else b" " for k in range(LINE)]
    expected = b"".join(plain[k] for k in range(LINE) if kept >> k & 1)
    assert out[n : n + len(expected)].tobytes() == expected
    assert not out[:n].any()
    assert not out[n + LINE :].any()


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


@njit
def compared(a: np.ndarray, i: int, b: np.ndarray, j: int) -> tuple[int, int]:
    return shared_of_eight(a, i, b, j), bits_beyond(a[i:], b[j:], 0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(BITS, min_size=10, max_size=10, unique=True), min_size=2, max_size=2), st.integers(0, 2))
def test_eight_numbers_are_compared_with_eight_at_once(numbers: list[list[int]], i: int) -> None:
    some, others = numbers
    others[:5] = some[5:]
    a, b = np.array(some, np.uint64), np.array(others, np.uint64)
    shared, alone = compared(a, i, b, 0)
    assert shared == len({*some[i : i + EIGHT]} & {*others[:EIGHT]})
    assert alone == sum((x & ~y).bit_count() for x, y in zip(some[i : i + EIGHT], others[:EIGHT], strict=False))


@njit
def used(places: np.ndarray, out: np.ndarray) -> int:
    return copy_used(places, 1, out, 2)


@settings(deadline=None)
@given(st.lists(st.one_of(st.just(EMPTY), BITS), min_size=EIGHT, max_size=EIGHT))
def test_what_is_used_stands_without_gaps(places: list[int]) -> None:
    out = np.zeros(EIGHT + 2, np.uint64)
    some = [place for place in places if place != EMPTY]
    assert used(np.array([1, *places], np.uint64), out) == len(some)
    assert out[2 : 2 + len(some)].tolist() == some


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from("ab漢"), max_size=20), min_size=1, max_size=30), st.integers(0, 40))
def test_words_have_their_hashes_many_at_a_time(words: list[str], spare: int) -> None:
    data = array((" ".join(["", *words, ""]) + "-" * spare).encode())
    bounds = np.zeros(len(words) + 1 + EIGHT, np.int64)
    bounds[: len(words) + 1] = np.cumsum([0, *(len(word.encode()) + 1 for word in words)])
    hashes = np.zeros(len(words) + EIGHT, np.uint64)
    hash_words(data, bounds, len(words), hashes)
    assert hashes[: len(words)].tolist() == [_word_hash(word) for word in words]
