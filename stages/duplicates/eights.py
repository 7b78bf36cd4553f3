"""Many numbers at a time for kernels: hashes, sets and permutations, by LLVM's vectors.

Nothing here checks bounds: the caller sees to it that the numbers are there.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import alloca_once_value, for_range
from numba.extending import intrinsic

from stages.duplicates.words import MIX, SPREAD
from stages.vectors.llvm import BIT, BYTE, EIGHT, LANES, LINE, WORD, Builder, all_of, chosen, llvm, pointer, spread

EMPTY = 2**64 - 1
"""What stands where `copy_used` finds nothing."""


@intrinsic
def hash_eight(_: Any, data: Any, bounds: Any, k: Any, hashes: Any) -> Any:
    """Write the hashes of eight words into the uint64 `hashes[k:]` and return whether any word is of over 16 bytes.

    Word k is what stands between `data[bounds[k]]` and `data[bounds[k + 1]]`, neither included; int64. The hash is that
    of `stages.duplicates.words`, of no use for longer words; 16 bytes are read of each word.
    """

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        data, bounds, k, hashes = arguments
        text = builder.ptrtoint(context.make_array(signature.args[0])(context, builder, data).data, BIT)
        place = pointer(context, builder, signature.args[1], (bounds, k), EIGHT, BIT)
        before = builder.load(place, align=8)
        next_place = pointer(context, builder, signature.args[1], (bounds, builder.add(k, k.type(1))), EIGHT, BIT)
        length = builder.sub(builder.sub(builder.load(next_place, align=8), before), all_of(1))
        begin = builder.add(builder.add(before, all_of(1)), spread(builder, text, EIGHT))
        value = length
        for start in (0, EIGHT):
            some = _first_bytes(builder, builder.add(begin, all_of(start)), builder.sub(length, all_of(start)))
            value = builder.mul(builder.xor(value, some), all_of(MIX))
            value = builder.xor(value, builder.lshr(value, all_of(32)))
        target = pointer(context, builder, signature.args[3], (hashes, k), EIGHT, BIT)
        builder.store(value, target, align=8)
        longer = builder.bitcast(builder.icmp_signed(">", length, all_of(2 * EIGHT)), BYTE)
        return builder.icmp_unsigned("!=", longer, BYTE(0))

    return types.boolean(data, bounds, types.intp, hashes), generate


def _first_bytes(builder: Builder, places: Any, counts: Any) -> Any:
    """Return the first bytes, `counts` of them or eight if those are more, at each of eight places, zeros behind."""
    kind, which = places.type, ir.Constant(ir.VectorType(ir.IntType(1), EIGHT), [1] * EIGHT)
    pointers = builder.inttoptr(places, ir.VectorType(BIT.as_pointer(), EIGHT))
    some = llvm(builder, f"masked.gather.v{EIGHT}i64.v{EIGHT}p0", kind, pointers, WORD(1), which, all_of(0))
    spare = builder.sub(all_of(64), builder.shl(counts, all_of(3)))
    kept = builder.and_(some, builder.lshr(all_of(EMPTY), builder.and_(spare, all_of(63))))
    kept = builder.select(builder.icmp_signed("<", counts, all_of(EIGHT)), kept, some)
    return builder.select(builder.icmp_signed(">", counts, all_of(0)), kept, all_of(0))


@intrinsic
def chain_eight(_: Any, hashes: Any, k: Any, length: Any, name: Any, out: Any, n: Any) -> Any:
    """Write the hashes of eight runs of `length` words, the first from `hashes[k]` on, into the uint64 `out[n:]`.

    The hash is that of `stages.duplicates.words`; `name` is the hash of the part.
    """

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        hashes, k, length, name, out, n = arguments
        chained = alloca_once_value(builder, all_of(0))
        with for_range(builder, length) as loop:
            place = (hashes, builder.add(k, loop.index))
            some = builder.load(pointer(context, builder, signature.args[0], place, EIGHT, BIT), align=8)
            builder.store(builder.add(builder.mul(builder.load(chained), all_of(SPREAD)), some), chained)
        value = builder.add(builder.load(chained), spread(builder, name, EIGHT))
        value = builder.mul(builder.xor(value, builder.lshr(value, all_of(33))), all_of(MIX))
        value = builder.xor(value, builder.lshr(value, all_of(29)))
        builder.store(value, pointer(context, builder, signature.args[4], (out, n), EIGHT, BIT), align=8)
        return context.get_dummy_value()

    return types.void(hashes, types.intp, types.intp, types.uint64, out, types.intp), generate


@intrinsic
def mix_lines(_: Any, data: Any, i: Any, count: Any, lanes: Any) -> Any:
    """Mix `count` lines of `LINE` bytes, from `data[i]` on, into the uint64 `lanes[:EIGHT]`, each eight bytes into one.

    Each eight is mixed in by the bijection of `stages.duplicates.words`.
    """

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        data, i, count, lanes = arguments
        home = pointer(context, builder, signature.args[3], (lanes, i.type(0)), EIGHT, BIT)
        mixed = alloca_once_value(builder, builder.load(home, align=8))
        with for_range(builder, count) as loop:
            place = builder.add(i, builder.mul(loop.index, i.type(LINE)))
            line = builder.load(pointer(context, builder, signature.args[0], (data, place), EIGHT, BIT), align=1)
            value = builder.mul(builder.xor(builder.load(mixed), line), all_of(MIX))
            builder.store(builder.xor(value, builder.lshr(value, all_of(32))), mixed)
        builder.store(builder.load(mixed), home, align=8)
        return context.get_dummy_value()

    return types.void(data, types.intp, types.intp, lanes), generate


@intrinsic
def copy_used(_: Any, places: Any, k: Any, out: Any, n: Any) -> Any:
    """Copy those of the uint64 `places[k:k + EIGHT]` that are not `EMPTY` to `out[n:]` and return how many they are.

    Up to `EIGHT` values are written.
    """

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        source = pointer(context, builder, signature.args[0], arguments[:2], EIGHT, BIT)
        target = pointer(context, builder, signature.args[2], arguments[2:], EIGHT, BIT)
        some = builder.load(source, align=8)
        used = builder.icmp_unsigned("!=", some, all_of(EMPTY))
        builder.store(chosen(builder, some, used), target, align=8)
        return builder.zext(builder.ctpop(builder.bitcast(used, BYTE)), BIT)

    return types.intp(places, types.intp, out, types.intp), generate


@intrinsic
def shared_of_eight(_: Any, a: Any, i: Any, b: Any, j: Any) -> Any:
    """Return how many of the uint64 `a[i:i + 8]` are among `b[j:j + 8]`; neither holds one twice."""

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        mine = builder.load(pointer(context, builder, signature.args[0], arguments[:2], EIGHT, BIT), align=8)
        theirs = builder.load(pointer(context, builder, signature.args[2], arguments[2:], EIGHT, BIT), align=8)
        turns = [[(k + turn) % EIGHT for k in range(EIGHT)] for turn in range(EIGHT)]
        rotated = [builder.shuffle_vector(theirs, theirs, ir.Constant(ir.VectorType(WORD, EIGHT), t)) for t in turns]
        same = reduce(builder.or_, (builder.icmp_unsigned("==", mine, one) for one in rotated))
        return builder.zext(builder.ctpop(builder.bitcast(same, BYTE)), BIT)

    return types.intp(a, types.intp, b, types.intp), generate


@intrinsic
def bits_beyond(_: Any, mine: Any, theirs: Any, k: Any) -> Any:
    """Return how many bits are set in the uint64 `mine[k:k + EIGHT]` that are not in `theirs[k:k + EIGHT]`."""

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        mine, theirs, k = arguments
        places = zip(signature.args[:2], ((mine, k), (theirs, k)), strict=True)
        some, other = (
            builder.load(pointer(context, builder, kind, place, EIGHT, BIT), align=8) for kind, place in places
        )
        alone = builder.and_(some, builder.xor(other, all_of(EMPTY)))
        counts = llvm(builder, f"ctpop.v{EIGHT}i64", alone.type, alone)
        return llvm(builder, f"vector.reduce.add.v{EIGHT}i64", BIT, counts)

    return types.intp(mine, theirs, types.intp), generate


@intrinsic
def lower_least(_: Any, least: Any, k: Any, factors: Any, offsets: Any, values: Any, count: Any) -> Any:
    """Lower `least[k + i]` to the least of `factors[k + i] * values[:count] + offsets[k + i]`, for i under `LANES`.

    All are uint32, modulo 2^32. The least values stay in registers while the values pass by.
    """

    def generate(context: Any, builder: Builder, signature: Any, arguments: Any) -> Any:
        least, k, factors, offsets, values, count = arguments
        kinds = dict(zip(("least", "_", "factors", "offsets", "values"), signature.args, strict=False))
        places = {"least": (least, k), "factors": (factors, k), "offsets": (offsets, k)}
        lanes = {name: pointer(context, builder, kinds[name], place, LANES, WORD) for name, place in places.items()}
        factor, offset = (builder.load(lanes[name], align=4) for name in ("factors", "offsets"))
        lowest = alloca_once_value(builder, builder.load(lanes["least"], align=4))
        each = context.make_array(kinds["values"])(context, builder, values).data
        with for_range(builder, count) as loop:
            value = spread(builder, builder.load(builder.gep(each, [loop.index])), LANES)
            found = builder.add(builder.mul(factor, value), offset)
            before = builder.load(lowest)
            builder.store(builder.select(builder.icmp_unsigned("<", found, before), found, before), lowest)
        builder.store(builder.load(lowest), lanes["least"], align=4)
        return context.get_dummy_value()

    return types.void(least, types.intp, factors, offsets, values, types.intp), generate
