"""The kernels of reading, kept compiled until one of the files that they are made of changes.

numba keeps a compiled function under its own code and closure, and does not see that a function or a number in another
file, which it has compiled in, has changed: so each closure holds the hash of all sources.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from numba import njit

from stages.reading import fold_kernel, letters, line_kernel, shapes
from stages.reading.fold_kernel import fold_rows as _fold_rows
from stages.reading.line_kernel import find_ends as _find_ends
from stages.reading.line_kernel import read_lines as _read_lines
from stages.vectors import lines, llvm, utf8

SOURCES = (llvm, utf8, lines, fold_kernel, line_kernel, letters, shapes)


class Kernels(NamedTuple):
    """Each takes what the function of its name takes, and returns what that returns with the mark of the sources."""

    find_ends: Any
    read_lines: Any
    fold_rows: Any


@cache
def kernels() -> Kernels:
    """Return the compiled kernels, or compile them."""
    digest = hashlib.sha256(b"".join(Path(str(module.__file__)).read_bytes() for module in SOURCES)).digest()
    made_of = int.from_bytes(digest[:7], "big")

    @njit(cache=True, nogil=True)
    def find_ends(*given: Any) -> tuple[int, int]:
        return _find_ends(*given), made_of

    @njit(cache=True, nogil=True)
    def read_lines(*given: Any) -> tuple[int, int]:
        return _read_lines(*given), made_of

    @njit(cache=True, nogil=True)
    def fold_rows(*given: Any) -> tuple[int, int]:
        return _fold_rows(*given), made_of

    return Kernels(find_ends, read_lines, fold_rows)
