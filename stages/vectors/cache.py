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

    Called by the package before it loads a kernel. Where nothing may be written, numba keeps nothing either.
    """
    digest = _digest([*sorted(folder.glob("*.py")), *sorted(shared.glob("*.py"))])
    kept = place_of(folder)
    with suppress(OSError):
        mark = kept / MADE_OF
        if mark.exists() and mark.read_text() == digest:
            return
        kept.mkdir(parents=True, exist_ok=True)
        for path in kept.glob("*.nb[ic]"):
            path.unlink(missing_ok=True)
        part = mark.with_name(f"{MADE_OF}.{os.getpid()}")
        part.write_text(digest)
        part.replace(mark)


def place_of(folder: Path) -> Path:
    """Return where numba keeps the kernels of a package: where it is told to, beside them, or else with the user's."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "numba"
    beside = folder / "__pycache__"
    if not (told := os.environ.get("NUMBA_CACHE_DIR")) and os.access(beside if beside.exists() else folder, os.W_OK):
        return beside
    path = os.path.abspath(folder)
    return Path(told or home) / f"{folder.name}_{hashlib.sha1(path.encode()).hexdigest()}"


def _digest(paths: Iterable[Path]) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)).hexdigest()
