"""Arrays by name in one file, mapped into memory when they are read: one file is opened and mapped sooner than many.

A line of JSON names each array with its type and shape; then come their bytes. Each begins at a multiple of `LINE`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from mmap import ACCESS_COPY, mmap
from os import posix_fallocate
from pathlib import Path
from typing import Any

import numpy as np

from stages.vectors.llvm import LINE


def write_arrays(file: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to an empty file that is open for bytes; to ask for all its room at once spares time."""
    named = json.dumps({name: (array.dtype.str, array.shape) for name, array in arrays.items()})
    head = f"{named}\n".encode()
    sizes = (len(head), *(array.nbytes for array in arrays.values()))
    posix_fallocate(file.fileno(), 0, sum(size + -size % LINE for size in sizes))
    for part in (head, *map(np.ascontiguousarray, arrays.values())):
        file.write(part)
        file.write(bytes(-file.tell() % LINE))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file, so that only what is looked at is read; what is written to them stays in memory.

    Raises:
        OSError: there is no such file.
        ValueError: it is damaged.
    """
    with path.open("rb") as file:
        mapped = mmap(file.fileno(), 0, access=ACCESS_COPY)
    head = mapped.readline()
    arrays, at = {}, len(head)
    for name, (kind, shape) in json.loads(head).items():
        at += -at % LINE
        arrays[name] = np.frombuffer(mapped, kind, int(np.prod(shape)), at).reshape(shape)
        at += arrays[name].nbytes
    return arrays
