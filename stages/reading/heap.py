"""Memory while many rows stream through: no search for cycles that rows cannot form, and pages that are used again."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa


@contextmanager
def lean() -> Iterator[None]:
    """Work without Python's collector, and with Arrow's memory from the system's allocator, until the work is done.

    Records are trees and go by their counts, yet the collector walks them again and again; and Arrow's own allocator
    gives a batch's pages back to the system, which must clear them anew for the next.
    """
    pool, collects = pa.default_memory_pool(), gc.isenabled()
    gc.disable()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(pool)
        if collects:
            gc.enable()
