"""What the vectors of kernels are made of: LLVM's types and functions, which fit whatever processor there is.

Nothing here checks bounds: the caller sees to it that what is pointed to is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core.cgutils import get_or_insert_function

LINE = 64
"""Bytes that are looked at together."""
EIGHT = 8
"""Numbers of 64 bits that are looked at together."""
LANES = 64
"""Numbers of 32 bits that are worked on together: few enough for all registers, enough to keep them busy."""
BYTE, WORD, BIT = ir.IntType(8), ir.IntType(32), ir.IntType(64)

Builder = Any


def pointer(
    context: Any, builder: Builder, kind: Any, place: Sequence[Any], count: int, element: ir.IntType = BYTE
) -> Any:
    """Return the pointer to `count` elements of an array of a kind; `place` is the array and an index."""
    array, index = place
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), ir.VectorType(element, count).as_pointer())


def llvm(builder: Builder, name: str, kind: ir.Type, *arguments: Any) -> Any:
    """Return the result, of a kind, of one of LLVM's own functions."""
    function = ir.FunctionType(kind, [argument.type for argument in arguments])
    return builder.call(get_or_insert_function(builder.module, function, f"llvm.{name}"), arguments)


def chosen(builder: Builder, some: Any, which: Any) -> Any:
    """Return a vector whose chosen elements have moved to its front."""
    kind = some.type
    return llvm(builder, f"experimental.vector.compress.v{kind.count}i{kind.element.width}", kind, some, which, some)


def spread(builder: Builder, value: Any, count: int) -> Any:
    """Return a vector of so many times a number."""
    one = builder.insert_element(ir.Constant(ir.VectorType(value.type, count), None), value, WORD(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(WORD, count), [0] * count))


def all_of(number: int) -> Any:
    return ir.Constant(ir.VectorType(BIT, EIGHT), [number] * EIGHT)


def every(byte: int) -> Any:
    return ir.Constant(ir.VectorType(BYTE, LINE), [byte] * LINE)
