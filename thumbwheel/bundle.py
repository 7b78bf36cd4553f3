"""A bundle: the folder of weights, tokenizer and chat template that is judged and then served, and its hash."""

from __future__ import annotations

from pathlib import Path

from thumbwheel.errors import ModelError, ReleaseError
from thumbwheel.folders import folder_hash


def bundle_hash(folder: Path) -> str:
    """Return the SHA-256, in hex, of every file's relative path and bytes.

    Raises:
        ModelError: the folder is missing or holds no model.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} holds no model (no config.json); make it with: dvc repro.")
    return folder_hash(folder)


def refuse_other(folder: Path, expected: str) -> None:
    """Raise `ReleaseError` unless the folder's bundle is the expected one."""
    if (found := bundle_hash(folder)) != expected:
        raise ReleaseError(
            f"the bundle in {folder} has hash {found[:12]}, but {expected[:12]} was judged; "
            "only the judged bundle may be served. Run the wheel again from 'quantize'."
        )
