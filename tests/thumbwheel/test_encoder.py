"""The service's sentence model gives what the index was made by."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from thumbwheel.embedding import embed
from thumbwheel.encoder import Encoder


def test_a_question_is_embedded_as_the_chunks_were(workspace: Path) -> None:
    texts = ["What does a white light mean?", "Frost", "word " * 300, "\ud800 broken"]
    vectors = Encoder("float32")(texts)
    assert vectors.shape == (4, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.abs(embed(texts, "float32").of(texts) - vectors).max() < 2e-3
