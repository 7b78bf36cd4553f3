"""What numba keeps of compiled kernels, cleared where the sources that they were compiled from have changed.

numba keeps a compiled function beside its own file and looks at that file alone: that a function in another one, which
it has compiled in, has changed, it does not see.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

SHARED = Path(__file__).parent
MADE_OF = "kernels.sha256"
"""Holds the hash of the sources that the kernels beside it were compiled from."""


def clear_stale(folder: Path, shared: Path = SHARED) -> None:
    """Delete the compiled kernels of a package if any file of it, or of what kernels share, is another than it was.

    Called by the package before it loads a kernel. Where nothing may be written, numba keeps nothing there either.
    """
    digest = _digest([*sorted(folder.glob("*.py")), *sorted(shared.glob("*.py"))])
    kept = folder / "__pycache__"
    with suppress(OSError):
        mark = kept / MADE_OF
        if mark.exists() and mark.read_text() == digest:
            return
        kept.mkdir(exist_ok=True)
        for path in kept.glob("*.nb[ic]"):
            path.unlink(missing_ok=True)
        part = mark.with_name(f"{MADE_OF}.{os.getpid()}")
        part.write_text(digest)
        part.replace(mark)


def _digest(paths: Iterable[Path]) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)).hexdigest()
