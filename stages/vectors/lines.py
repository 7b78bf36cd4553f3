"""Many bytes at a time for kernels: LLVM's vectors, which become the widest instructions that the processor has.

A kernel that loops over bytes pays for a wrong guess at nearly every end of a word; one that asks for the ends in the
next `LINE` bytes at once pays hardly any. Nothing here checks bounds: the caller sees to it that the bytes are there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import raw_memmove
from numba.extending import intrinsic

from stages.vectors.llvm import BIT, LINE, Builder, chosen, every, pointer

Question = Callable[[Builder, Any], Any]


@intrinsic
def ascii_words(_: Any, text: Any, i: Any) -> Any:
    """Return as uint64 which of `text[i:i + LINE]` are ASCII letters or digits."""
    return _answer(text, _alphanumeric)


@intrinsic
def beyond_ascii(_: Any, text: Any, i: Any) -> Any:
    """Return as uint64 which of `text[i:i + LINE]` are no ASCII."""
    return _answer(text, lambda builder, line: builder.icmp_signed("<", line, every(0)))


@intrinsic
def blanks_in(_: Any, data: Any, i: Any) -> Any:
    """Return as uint64 which of `data[i:i + LINE]` are blanks."""
    return _answer(data, lambda builder, line: builder.icmp_unsigned("==", line, every(ord(" "))))


@intrinsic
def hashes_in(_: Any, data: Any, i: Any) -> Any:
    """Return as uint64 which of `data[i:i + LINE]` are `#`."""
    return _answer(data, lambda builder, line: builder.icmp_unsigned("==", line, every(ord("#"))))


@intrinsic
def record_separators(_: Any, data: Any, i: Any) -> Any:
    """Return as uint64 which of `data[i:i + LINE]` are ASCII's record separator."""
    return _answer(data, lambda builder, line: builder.icmp_unsigned("==", line, every(0x1E)))


def _answer(text: Any, question: Question) -> tuple[Any, Any]:
    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        place = pointer(context, builder, signature.args[0], arguments, LINE)
        return builder.bitcast(question(builder, builder.load(place, align=1)), BIT)

    return types.uint64(text, types.intp), generate


@intrinsic
def ends_of_lines(_: Any, text: Any, i: Any) -> Any:
    """Return as uint64 which of `text[i:i + LINE]` end a line."""
    return _answer(text, lambda builder, line: _any_of(builder, line, "\n"))


@intrinsic
def ends_of_strings(_: Any, text: Any, i: Any) -> Any:
    """Return as uint64 which of `text[i:i + LINE]` no JSON string holds as they are: `"`, backslash and controls."""
    return _answer(text, lambda builder, line: _any_of(builder, line, '"\\', below=0x20))


@intrinsic
def controls(_: Any, text: Any, i: Any) -> Any:
    """Return as uint64 which of `text[i:i + LINE]` are ASCII's controls."""
    return _answer(text, lambda builder, line: _any_of(builder, line, "\x7f", below=0x20))


@intrinsic
def breaks_and_blanks(_: Any, text: Any, i: Any) -> Any:
    """Return as uint64 which of `text[i:i + LINE]` are a blank, a tabulator, or an end of a line."""
    return _answer(text, lambda builder, line: _any_of(builder, line, " \t\n\r"))


def _any_of(builder: Builder, line: Any, chars: str, below: int = 0) -> Any:
    """Say which bytes are one of a few characters, or less than `below`."""
    found = builder.icmp_unsigned("<", line, every(below))
    for char in chars:
        found = builder.or_(found, builder.icmp_unsigned("==", line, every(ord(char))))
    return found


def _alphanumeric(builder: Builder, line: Any) -> Any:
    letter = builder.sub(builder.or_(line, every(0x20)), every(ord("a")))
    digit = builder.sub(line, every(ord("0")))
    return builder.or_(
        builder.icmp_unsigned("<", letter, every(26)),
        builder.icmp_unsigned("<", digit, every(10)),
    )


@intrinsic
def copy_letters(_: Any, text: Any, i: Any, letters: Any, kept: Any, out: Any, n: Any) -> Any:
    """Copy those of `text[i:i + LINE]` that are `kept` to `out[n:]`, side by side, and write up to `LINE` bytes there.

    `letters`, as `ascii_words` gives them, become lower case, all else a space.
    """

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        source = pointer(context, builder, signature.args[0], arguments[:2], LINE)
        target = pointer(context, builder, signature.args[4], arguments[4:], LINE)
        some = builder.load(source, align=1)
        upper = builder.icmp_unsigned("<", builder.sub(some, every(ord("A"))), every(26))
        lower = builder.or_(some, builder.select(upper, every(0x20), every(0)))
        which, kept = (builder.bitcast(bits, ir.VectorType(ir.IntType(1), LINE)) for bits in arguments[2:4])
        plain = builder.select(which, lower, every(ord(" ")))
        builder.store(chosen(builder, plain, kept), target, align=1)
        return context.get_dummy_value()

    return types.void(text, types.intp, types.uint64, types.uint64, out, types.intp), generate


@intrinsic
def copy_line(_: Any, text: Any, i: Any, out: Any, n: Any) -> Any:
    """Copy `text[i:i + LINE]` to `out[n:]`."""
    return _copied(text, out, lambda builder, line: line)


@intrinsic
def copy_folded(_: Any, text: Any, i: Any, out: Any, n: Any) -> Any:
    """Copy `text[i:i + LINE]` to `out[n:]`, ASCII letters in lower case, and a blank for every control but the last."""
    return _copied(text, out, _folded)


def _folded(builder: Builder, line: Any) -> Any:
    upper = builder.icmp_unsigned("<", builder.sub(line, every(ord("A"))), every(26))
    lower = builder.or_(line, builder.select(upper, every(0x20), every(0)))
    return builder.select(builder.icmp_unsigned("<", line, every(0x20)), every(0x20), lower)


def _copied(text: Any, out: Any, change: Question) -> tuple[Any, Any]:
    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        source = pointer(context, builder, signature.args[0], arguments[:2], LINE)
        target = pointer(context, builder, signature.args[2], arguments[2:], LINE)
        builder.store(change(builder, builder.load(source, align=1)), target, align=1)
        return context.get_dummy_value()

    return types.void(text, types.intp, out, types.intp), generate


@intrinsic
def move_bytes(_: Any, data: Any, i: Any, out: Any, n: Any, count: Any) -> Any:
    """Copy `data[i:i + count]` to `out[n:]`; the two may overlap."""

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        source = pointer(context, builder, signature.args[0], arguments[:2], 1)
        target = pointer(context, builder, signature.args[2], arguments[2:4], 1)
        raw_memmove(builder, target, source, arguments[4], 1)
        return context.get_dummy_value()

    return types.void(data, types.intp, out, types.intp, types.intp), generate


@intrinsic
def eight_bytes(_: Any, data: Any, i: Any) -> Any:
    """Return `data[i:i + 8]` as uint64, the first byte the lowest."""

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        place = pointer(context, builder, signature.args[0], arguments, 8)
        return builder.load(builder.bitcast(place, BIT.as_pointer()), align=1)

    return types.uint64(data, types.intp), generate


@intrinsic
def first_bit(_: Any, bits: Any) -> Any:
    """Return the place of the lowest bit of a uint64 that is set, 64 where none is."""

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.intp(types.uint64), generate


@intrinsic
def bits_in(_: Any, bits: Any) -> Any:
    """Return how many bits of a uint64 are set."""

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.intp(types.uint64), generate
