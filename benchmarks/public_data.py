"""Real public data that benchmarks and tests read where it is; the repository contains none of it.

It is looked for in the folder that `THUMBWHEEL_PUBLIC_DATA` names, else in `shared/data` beside the repository: as
folders (`dedup/gitdup_dev`), or packed (`dedup.tar.xz`), and then unpacked once under `.thumbwheel/public`.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNPACKED = ROOT / ".thumbwheel" / "public"


class AbsentDataError(FileNotFoundError):
    """The data set is not on this machine."""


def public_data(name: str) -> Path:
    """Return the folder of a data set, such as `dedup/gitdup_dev`.

    Raises:
        AbsentDataError: it is not on this machine.
    """
    home = Path(os.environ.get("THUMBWHEEL_PUBLIC_DATA", ROOT.parent / "shared" / "data"))
    theme = name.split("/")[0]
    if (home / name).is_dir():
        return home / name
    if not (UNPACKED / theme).is_dir() and (archive := home / f"{theme}.tar.xz").is_file():
        _unpack(archive, theme)
    if not (UNPACKED / name).is_dir():
        raise AbsentDataError(f"public data '{name}' is not in {home}; set THUMBWHEEL_PUBLIC_DATA to its folder.")
    return UNPACKED / name


def _unpack(archive: Path, theme: str) -> None:
    part = UNPACKED / f"{theme}.{os.getpid()}.part"
    with tarfile.open(archive) as packed:
        packed.extractall(part, filter="data")
    inner = part / theme if (part / theme).is_dir() else part
    try:
        inner.rename(UNPACKED / theme)
    except OSError:
        if not (UNPACKED / theme).is_dir():
            raise
    shutil.rmtree(part, ignore_errors=True)
