"""UTF-8 for kernels: read a code point, and write one."""

from __future__ import annotations

import numpy as np
from numba import njit

CODES = 0x110000
"""How many code points there are: tables of kernels have a place for each, and none for more."""


@njit(cache=True, nogil=True)
def code_point(text: np.ndarray, i: int, end: int) -> tuple[int, int]:
    """Return the code point at `i` and its length in bytes; the code point is -1 where there is no valid one."""
    c = int(text[i])
    if c < 0x80:
        return c, 1
    width = 2 if c < 0xE0 else 3 if c < 0xF0 else 4
    if c < 0xC2 or c > 0xF4 or i + width > end:
        return -1, 1
    code = c & (0x7F >> width)
    for k in range(i + 1, i + width):
        if text[k] & 0xC0 != 0x80:
            return -1, 1
        code = code << 6 | int(text[k] & 0x3F)
    valid = (0x80, 0x800, 0x10000)[width - 2] <= code < CODES and not 0xD800 <= code < 0xE000
    return (code if valid else -1), width


@njit(cache=True, nogil=True)
def put_code(out: np.ndarray, n: int, code: int) -> int:
    """Write a code point at `out[n]` in UTF-8, and return where it ends."""
    if code < 0x80:
        out[n] = code
        return n + 1
    if code < 0x800:
        out[n] = 0xC0 | code >> 6
        out[n + 1] = 0x80 | code & 0x3F
        return n + 2
    if code < 0x10000:
        out[n] = 0xE0 | code >> 12
        out[n + 1] = 0x80 | code >> 6 & 0x3F
        out[n + 2] = 0x80 | code & 0x3F
        return n + 3
    out[n] = 0xF0 | code >> 18
    out[n + 1] = 0x80 | code >> 12 & 0x3F
    out[n + 2] = 0x80 | code >> 6 & 0x3F
    out[n + 3] = 0x80 | code & 0x3F
    return n + 4
