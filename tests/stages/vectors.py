"""Vectors in place of a model's: equal for texts of the same letters, near orthogonal for others."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from thumbwheel.embedding import Vectors


def fake_embed(texts: Iterable[str], dtype: str = "float32") -> Vectors:
    return Vectors({text: _vector("".join(sorted(filter(str.isalpha, text.lower())))) for text in sorted(set(texts))})


def _vector(letters: str) -> np.ndarray:
    vector = np.random.default_rng(list(letters.encode("utf-8", "replace")) or [0]).standard_normal(64)
    return np.asarray(vector / np.linalg.norm(vector))
