"""Many bytes at a time for kernels: LLVM's vectors, which become the widest instructions that the processor has.

A kernel that loops over bytes pays for a wrong guess at nearly every end of a word; one that asks for the ends in the
next `LINE` bytes at once pays hardly any. Nothing here checks bounds: the caller sees to it that the bytes are there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import alloca_once_value, for_range, get_or_insert_function, raw_memmove
from numba.extending import intrinsic

from stages.duplicates.words import END, MIX, SPREAD

LINE = 64
"""Bytes that are looked at together; bit k of an answer is about the k-th of them."""
LANES = 64
"""Permutations that `lower_least` works on together: few enough for all registers, enough to keep them busy."""
EIGHT = 8
"""Numbers of 64 bits that are looked at together."""
EMPTY = 2**64 - 1
"""What stands where `copy_used` finds nothing."""
BYTE, WORD, BIT = ir.IntType(8), ir.IntType(32), ir.IntType(64)

Builder = Any
Question = Callable[[Builder, Any], Any]


@intrinsic
def ascii_words(_: Any, text: Any, i: Any) -> Any:
    """Return as uint64 which of `text[i:i + LINE]` are ASCII letters or digits."""
    return _answer(text, _alphanumeric)


@intrinsic
def beyond_ascii(_: Any, text: Any, i: Any) -> Any:
    """Return as uint64 which of `text[i:i + LINE]` are no ASCII."""
    return _answer(text, lambda builder, line: builder.icmp_signed("<", line, _every(0)))


@intrinsic
def spaces_in(_: Any, data: Any, i: Any) -> Any:
    """Return as uint64 which of the folded `data[i:i + LINE]` stand between two words."""
    return _answer(data, lambda builder, line: builder.icmp_unsigned("==", line, _every(ord(" "))))


@intrinsic
def ends_of_parts(_: Any, data: Any, i: Any) -> Any:
    """Return as uint64 which of the folded `data[i:i + LINE]` end a part."""
    return _answer(data, lambda builder, line: builder.icmp_unsigned("==", line, _every(ord(END))))


def _answer(text: Any, question: Question) -> tuple[Any, Any]:
    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        place = _pointer(context, builder, signature.args[0], arguments, LINE)
        return builder.bitcast(question(builder, builder.load(place, align=1)), BIT)

    return types.uint64(text, types.intp), generate


def _alphanumeric(builder: Builder, line: Any) -> Any:
    letter = builder.sub(builder.or_(line, _every(0x20)), _every(ord("a")))
    digit = builder.sub(line, _every(ord("0")))
    return builder.or_(
        builder.icmp_unsigned("<", letter, _every(26)),
        builder.icmp_unsigned("<", digit, _every(10)),
    )


@intrinsic
def copy_letters(_: Any, text: Any, i: Any, letters: Any, kept: Any, out: Any, n: Any) -> Any:
    """Copy those of `text[i:i + LINE]` that are `kept` to `out[n:]`, side by side, and write up to `LINE` bytes there.

    `letters`, as `ascii_words` gives them, become lower case, all else a space.
    """

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        source = _pointer(context, builder, signature.args[0], arguments[:2], LINE)
        target = _pointer(context, builder, signature.args[4], arguments[4:], LINE)
        some = builder.load(source, align=1)
        upper = builder.icmp_unsigned("<", builder.sub(some, _every(ord("A"))), _every(26))
        lower = builder.or_(some, builder.select(upper, _every(0x20), _every(0)))
        which, kept = (builder.bitcast(bits, ir.VectorType(ir.IntType(1), LINE)) for bits in arguments[2:4])
        plain = builder.select(which, lower, _every(ord(" ")))
        builder.store(_chosen(builder, plain, kept), target, align=1)
        return context.get_dummy_value()

    return types.void(text, types.intp, types.uint64, types.uint64, out, types.intp), generate


@intrinsic
def copy_used(_: Any, places: Any, k: Any, out: Any, n: Any) -> Any:
    """Copy those of the uint64 `places[k:k + EIGHT]` that are not `EMPTY` to `out[n:]` and return how many they are.

    Up to `EIGHT` values are written.
    """

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        source = _pointer(context, builder, signature.args[0], arguments[:2], EIGHT, BIT)
        target = _pointer(context, builder, signature.args[2], arguments[2:], EIGHT, BIT)
        some = builder.load(source, align=8)
        used = builder.icmp_unsigned("!=", some, _all(EMPTY))
        builder.store(_chosen(builder, some, used), target, align=8)
        return builder.zext(builder.ctpop(builder.bitcast(used, BYTE)), BIT)

    return types.intp(places, types.intp, out, types.intp), generate


def _chosen(builder: Builder, some: Any, which: Any) -> Any:
    """Return a vector whose chosen elements have moved to its front."""
    kind = some.type
    return _llvm(builder, f"experimental.vector.compress.v{kind.count}i{kind.element.width}", kind, some, which, some)


def _llvm(builder: Builder, name: str, kind: ir.Type, *arguments: Any) -> Any:
    """Return the result, of a kind, of one of LLVM's own functions."""
    function = ir.FunctionType(kind, [argument.type for argument in arguments])
    return builder.call(get_or_insert_function(builder.module, function, f"llvm.{name}"), arguments)


@intrinsic
def move_bytes(_: Any, data: Any, i: Any, out: Any, n: Any, count: Any) -> Any:
    """Copy `data[i:i + count]` to `out[n:]`; the two may overlap."""

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        source = _pointer(context, builder, signature.args[0], arguments[:2], 1)
        target = _pointer(context, builder, signature.args[2], arguments[2:4], 1)
        raw_memmove(builder, target, source, arguments[4], 1)
        return context.get_dummy_value()

    return types.void(data, types.intp, out, types.intp, types.intp), generate


@intrinsic
def shared_of_eight(_: Any, a: Any, i: Any, b: Any, j: Any) -> Any:
    """Return how many of the uint64 `a[i:i + 8]` are among `b[j:j + 8]`; neither holds one twice."""

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        mine = builder.load(_pointer(context, builder, signature.args[0], arguments[:2], EIGHT, BIT), align=8)
        theirs = builder.load(_pointer(context, builder, signature.args[2], arguments[2:], EIGHT, BIT), align=8)
        turns = [[(k + turn) % EIGHT for k in range(EIGHT)] for turn in range(EIGHT)]
        rotated = [builder.shuffle_vector(theirs, theirs, ir.Constant(ir.VectorType(WORD, EIGHT), t)) for t in turns]
        same = reduce(builder.or_, (builder.icmp_unsigned("==", mine, one) for one in rotated))
        return builder.zext(builder.ctpop(builder.bitcast(same, BYTE)), BIT)

    return types.intp(a, types.intp, b, types.intp), generate


@intrinsic
def hash_eight(_: Any, data: Any, bounds: Any, k: Any, hashes: Any) -> Any:
    """Write the hashes of eight words into the uint64 `hashes[k:]` and return whether any word is of over 16 bytes.

    Word k is what stands between `data[bounds[k]]` and `data[bounds[k + 1]]`, neither included; int64. The hash is that
    of `stages.duplicates.words`, of no use for longer words; 16 bytes are read of each word.
    """

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        data, bounds, k, hashes = arguments
        text = builder.ptrtoint(context.make_array(signature.args[0])(context, builder, data).data, BIT)
        place = _pointer(context, builder, signature.args[1], (bounds, k), EIGHT, BIT)
        before = builder.load(place, align=8)
        next_place = _pointer(context, builder, signature.args[1], (bounds, builder.add(k, k.type(1))), EIGHT, BIT)
        length = builder.sub(builder.sub(builder.load(next_place, align=8), before), _all(1))
        begin = builder.add(builder.add(before, _all(1)), _spread(builder, text, EIGHT))
        value = length
        for start in (0, EIGHT):
            some = _first_bytes(builder, builder.add(begin, _all(start)), builder.sub(length, _all(start)))
            value = builder.mul(builder.xor(value, some), _all(MIX))
            value = builder.xor(value, builder.lshr(value, _all(32)))
        target = _pointer(context, builder, signature.args[3], (hashes, k), EIGHT, BIT)
        builder.store(value, target, align=8)
        longer = builder.bitcast(builder.icmp_signed(">", length, _all(2 * EIGHT)), BYTE)
        return builder.icmp_unsigned("!=", longer, BYTE(0))

    return types.boolean(data, bounds, types.intp, hashes), generate


@intrinsic
def chain_eight(_: Any, hashes: Any, k: Any, length: Any, name: Any, out: Any, n: Any) -> Any:
    """Write the hashes of eight runs of `length` words, the first from `hashes[k]` on, into the uint64 `out[n:]`.

    The hash is that of `stages.duplicates.words`; `name` is the hash of the part.
    """

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        hashes, k, length, name, out, n = arguments
        chained = alloca_once_value(builder, _all(0))
        with for_range(builder, length) as loop:
            place = (hashes, builder.add(k, loop.index))
            some = builder.load(_pointer(context, builder, signature.args[0], place, EIGHT, BIT), align=8)
            builder.store(builder.add(builder.mul(builder.load(chained), _all(SPREAD)), some), chained)
        value = builder.add(builder.load(chained), _spread(builder, name, EIGHT))
        value = builder.mul(builder.xor(value, builder.lshr(value, _all(33))), _all(MIX))
        value = builder.xor(value, builder.lshr(value, _all(29)))
        builder.store(value, _pointer(context, builder, signature.args[4], (out, n), EIGHT, BIT), align=8)
        return context.get_dummy_value()

    return types.void(hashes, types.intp, types.intp, types.uint64, out, types.intp), generate


def _first_bytes(builder: Builder, places: Any, counts: Any) -> Any:
    """Return the first bytes, `counts` of them or eight if those are more, at each of eight places, zeros behind."""
    kind, which = places.type, ir.Constant(ir.VectorType(ir.IntType(1), EIGHT), [1] * EIGHT)
    pointers = builder.inttoptr(places, ir.VectorType(BIT.as_pointer(), EIGHT))
    some = _llvm(builder, f"masked.gather.v{EIGHT}i64.v{EIGHT}p0", kind, pointers, WORD(1), which, _all(0))
    spare = builder.sub(_all(64), builder.shl(counts, _all(3)))
    kept = builder.and_(some, builder.lshr(_all(EMPTY), builder.and_(spare, _all(63))))
    kept = builder.select(builder.icmp_signed("<", counts, _all(EIGHT)), kept, some)
    return builder.select(builder.icmp_signed(">", counts, _all(0)), kept, _all(0))


@intrinsic
def bits_beyond(_: Any, mine: Any, theirs: Any, k: Any) -> Any:
    """Return how many bits are set in the uint64 `mine[k:k + EIGHT]` that are not in `theirs[k:k + EIGHT]`."""

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        mine, theirs, k = arguments
        places = zip(signature.args[:2], ((mine, k), (theirs, k)), strict=True)
        some, other = (
            builder.load(_pointer(context, builder, kind, place, EIGHT, BIT), align=8) for kind, place in places
        )
        alone = builder.and_(some, builder.xor(other, _all(EMPTY)))
        counts = _llvm(builder, f"ctpop.v{EIGHT}i64", alone.type, alone)
        return _llvm(builder, f"vector.reduce.add.v{EIGHT}i64", BIT, counts)

    return types.intp(mine, theirs, types.intp), generate


@intrinsic
def mix_lines(_: Any, data: Any, i: Any, count: Any, lanes: Any) -> Any:
    """Mix `count` lines of `LINE` bytes, from `data[i]` on, into the uint64 `lanes[:EIGHT]`, each eight bytes into one.

    Each eight is mixed in by the bijection of `stages.duplicates.words`.
    """

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        data, i, count, lanes = arguments
        home = _pointer(context, builder, signature.args[3], (lanes, i.type(0)), EIGHT, BIT)
        mixed = alloca_once_value(builder, builder.load(home, align=8))
        with for_range(builder, count) as loop:
            place = builder.add(i, builder.mul(loop.index, i.type(LINE)))
            line = builder.load(_pointer(context, builder, signature.args[0], (data, place), EIGHT, BIT), align=1)
            value = builder.mul(builder.xor(builder.load(mixed), line), _all(MIX))
            builder.store(builder.xor(value, builder.lshr(value, _all(32))), mixed)
        builder.store(builder.load(mixed), home, align=8)
        return context.get_dummy_value()

    return types.void(data, types.intp, types.intp, lanes), generate


@intrinsic
def eight_bytes(_: Any, data: Any, i: Any) -> Any:
    """Return `data[i:i + 8]` as uint64, the first byte the lowest."""

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], arguments, 8)
        return builder.load(builder.bitcast(pointer, BIT.as_pointer()), align=1)

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


@intrinsic
def lower_least(_: Any, least: Any, k: Any, factors: Any, offsets: Any, values: Any, count: Any) -> Any:
    """Lower `least[k + i]` to the least of `factors[k + i] * values[:count] + offsets[k + i]`, for i under `LANES`.

    All are uint32, modulo 2^32. The least values stay in registers while the values pass by.
    """

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        least, k, factors, offsets, values, count = arguments
        kinds = dict(zip(("least", "_", "factors", "offsets", "values"), signature.args, strict=False))
        places = {"least": (least, k), "factors": (factors, k), "offsets": (offsets, k)}
        lanes = {name: _pointer(context, builder, kinds[name], place, LANES, WORD) for name, place in places.items()}
        factor, offset = (builder.load(lanes[name], align=4) for name in ("factors", "offsets"))
        lowest = alloca_once_value(builder, builder.load(lanes["least"], align=4))
        each = context.make_array(kinds["values"])(context, builder, values).data
        with for_range(builder, count) as loop:
            value = _spread(builder, builder.load(builder.gep(each, [loop.index])), LANES)
            found = builder.add(builder.mul(factor, value), offset)
            before = builder.load(lowest)
            builder.store(builder.select(builder.icmp_unsigned("<", found, before), found, before), lowest)
        builder.store(builder.load(lowest), lanes["least"], align=4)
        return context.get_dummy_value()

    return types.void(least, types.intp, factors, offsets, values, types.intp), generate


def _spread(builder: Builder, value: Any, count: int) -> Any:
    """Return a vector of so many times a number."""
    one = builder.insert_element(ir.Constant(ir.VectorType(value.type, count), None), value, WORD(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(WORD, count), [0] * count))


def _pointer(
    context: Any, builder: Builder, kind: Any, place: Sequence[Any], count: int, element: ir.IntType = BYTE
) -> Any:
    """Return the pointer to `count` elements of an array of a kind; `place` is the array and an index."""
    array, index = place
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), ir.VectorType(element, count).as_pointer())


def _all(number: int) -> Any:
    return ir.Constant(ir.VectorType(BIT, EIGHT), [number] * EIGHT)


def _every(byte: int) -> Any:
    return ir.Constant(ir.VectorType(BYTE, LINE), [byte] * LINE)
