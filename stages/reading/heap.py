"""Memory while many rows stream through: no search for cycles that rows cannot form, and pages that are used again."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Names of `mallopt`: from how many free bytes on they go back to the system, and from how many on one piece does."""
KEPT = 32 << 20
"""Bytes; as many as a batch takes on its way."""


@contextmanager
def lean() -> Iterator[None]:
    """Work without Python's collector, and with Arrow's memory from the system's allocator, until the work is done.

    Records are trees and go by their counts, yet the collector walks them again and again; and Arrow's own allocator
    gives a batch's pages back to the system, which must clear them anew for the next.
    """
    _keep_pages()
    pool, collects = pa.default_memory_pool(), gc.isenabled()
    gc.disable()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(pool)
        if collects:
            gc.enable()


def _keep_pages() -> None:
    """Let the process keep what it frees, where the C library is glibc: to be given a page costs as much as to fill it.

    By itself it comes to this, too, if later: its thresholds grow with what is freed, up to the same limit.
    """
    if (option := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        option(TRIM_THRESHOLD, 2 * KEPT)
        option(MMAP_THRESHOLD, KEPT)
