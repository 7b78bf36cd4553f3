"""A bundle: the folder of weights, tokenizer and chat template that is judged and then served, and its hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

from thumbwheel.errors import ModelError, ReleaseError


def bundle_hash(folder: Path) -> str:
    """Return the SHA-256, in hex, of every file's relative path and bytes.

    Raises:
        ModelError: the folder is missing or holds no model.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} holds no model (no config.json); make it with: dvc repro.")
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\n{content}\n".encode())
    return digest.hexdigest()


def refuse_other(folder: Path, expected: str) -> None:
    """Raise `ReleaseError` unless the folder's bundle is the expected one."""
    if (found := bundle_hash(folder)) != expected:
        raise ReleaseError(
            f"the bundle in {folder} has hash {found[:12]}, but {expected[:12]} was judged; "
            "only the judged bundle may be served. Run the wheel again from 'quantize'."
        )
