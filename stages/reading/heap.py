"""Memory while many rows stream through: no search for cycles that rows cannot form, and pages that are used again."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa

HELD = 31 << 20
"""Bytes of a block by which glibc, once it is freed, knows to keep blocks of up to its size for who asks next, and up
to twice as many bytes in all (mallopt(3), `M_MMAP_THRESHOLD`; larger than 32 MB it takes no heed of it)."""


@contextmanager
def lean() -> Iterator[None]:
    """Work without Python's collector, and with Arrow's memory from the system's allocator, until the work is done.

    Records are trees and go by their counts, yet the collector walks them again and again; and Arrow's own allocator
    gives a batch's pages back to the system, which must clear them anew for the next. The system's does so, too, until
    it has seen how large blocks may be.
    """
    pool, collects = pa.default_memory_pool(), gc.isenabled()
    gc.disable()
    np.empty(HELD, np.uint8)  # freed at once, and never touched
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(pool)
        if collects:
            gc.enable()
