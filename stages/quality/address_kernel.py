"""The kernel that tells an address (URL, host, e-mail) from other chunks; `english` has it as a pattern."""

from __future__ import annotations

import numpy as np

from stages.quality.characters import ALPHA_LOWER, WORD
from stages.quality.compiled_kernel import compiled

DOT, COLON, SLASH, PLUS, HYPHEN, AT, UNDERSCORE, QUESTION, HASH = (ord(c) for c in ".:/+-@_?#")
ZERO, NINE = ord("0"), ord("9")
LABEL, SHORTEST_TOP, LONGEST_TOP = 64, 2, 63


@compiled
def is_address(cp: np.ndarray, begin: int, end: int, flags: np.ndarray) -> bool:
    """True where a scheme and a user, if any, are followed by a host that stands to the end or to a port or path."""
    if host_stands(cp, begin, end, flags):
        return True
    after = after_scheme(cp, begin, end, flags)
    if after > begin and host_stands(cp, after, end, flags):
        return True
    for i in range(begin + 1, end):  # noqa: SIM110  numba knows no generators
        if cp[i] == AT and host_stands(cp, i + 1, end, flags):
            return True
    return False


@compiled
def after_scheme(cp: np.ndarray, begin: int, end: int, flags: np.ndarray) -> int:
    """Return where a text goes on after "https://", or `begin`."""
    i = begin
    while i < end and (flags[cp[i]] & WORD or cp[i] == PLUS or cp[i] == HYPHEN or cp[i] == DOT):
        i += 1
    slashes = i + 2 < end and cp[i] == COLON and cp[i + 1] == SLASH and cp[i + 2] == SLASH
    return i + 3 if slashes and i - begin > 1 else begin


@compiled
def host_stands(cp: np.ndarray, begin: int, end: int, flags: np.ndarray) -> bool:
    at = number_end(cp, begin, end)
    if at < 0:
        at = name_end(cp, begin, end, flags)
    if at < 0:
        return False
    if at < end and cp[at] == COLON:
        digits = at + 1
        while digits < end and ZERO <= cp[digits] <= NINE:
            digits += 1
        if not 2 <= digits - at - 1 <= 5:
            return False
        at = digits
    return at == end or cp[at] == SLASH or cp[at] == QUESTION or cp[at] == HASH


@compiled
def is_host(c: int) -> bool:
    return 48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122 or 0xA1 <= c <= 0xFFFF


@compiled
def name_end(cp: np.ndarray, begin: int, end: int, flags: np.ndarray) -> int:
    """Return where a host's name ends, its last label of small letters; or -1."""
    start, i, inside = begin, begin, True
    while i < end:
        c = cp[i]
        if c == DOT:
            if not (inside and 1 <= i - start <= LABEL and is_host(cp[start]) and is_host(cp[i - 1])):
                return -1
            start = i + 1
        elif not is_host(c) and c != UNDERSCORE and c != HYPHEN:
            if not flags[c] & ALPHA_LOWER:
                break
            inside = False
        i += 1
    if start == begin or not SHORTEST_TOP <= i - start <= LONGEST_TOP:
        return -1
    for j in range(start, i):
        if not flags[cp[j]] & ALPHA_LOWER:
            return -1
    return i


@compiled
def number_end(cp: np.ndarray, begin: int, end: int) -> int:
    """Return where a public IPv4 address ends, or -1."""
    at, first, second = begin, -1, -1
    for place in range(4):
        digits, value = at, 0
        while digits < end and digits - at < 4 and ZERO <= cp[digits] <= NINE:
            value = value * 10 + cp[digits] - ZERO
            digits += 1
        if not octet_stands(value, digits - at, cp[at] == ZERO if at < end else False, place):
            return -1
        if place == 0:
            first = value
        elif place == 1:
            second = value
        if place < 3 and (digits >= end or cp[digits] != DOT):
            return -1
        at = digits + 1
    return -1 if is_private(first, second) else at - 1


@compiled
def octet_stands(value: int, digits: int, zero: bool, place: int) -> bool:
    if digits < 1 or digits > 3:
        return False
    if place == 0:
        return not zero and value <= 223
    if place == 3:
        return not zero and value <= 254
    return digits < 3 or (not zero and value <= 255)


@compiled
def is_private(first: int, second: int) -> bool:
    if first == 10 or first == 127:
        return True
    if first == 169:
        return second == 254
    return second == 168 if first == 192 else first == 172 and 16 <= second <= 31
