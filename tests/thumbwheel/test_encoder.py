"""The service's sentence model gives what the index was made by, and reads a question once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thumbwheel import encoder
from thumbwheel.embedding import embed
from thumbwheel.encoder import Encoder


def test_a_question_is_embedded_as_the_chunks_were(workspace: Path) -> None:
    texts = ["What does a white light mean?", "Frost", "word " * 300, "\ud800 broken"]
    vectors = Encoder("float32", threads=1, kept=10)(texts)
    assert vectors.shape == (4, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.abs(embed(texts, "float32").of(texts) - vectors).max() < 2e-3


def test_what_the_model_reads_alike_is_computed_once_until_newer_texts_push_it_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts: list[int] = []
    forward = encoder._forward

    def counted(model: Any, inputs: Any) -> np.ndarray:
        counts.append(len(inputs["input_ids"]))
        return forward(model, inputs)

    monkeypatch.setattr(encoder, "_forward", counted)
    encode = Encoder("float32", threads=1, kept=2)
    first = encode(["Frost?", "Rain?", "Frost?"])
    assert np.array_equal(encode(["  frost ?"])[0], first[0])
    encode(["Snow?"])
    again = encode(["Rain?", "Frost?"])
    assert counts == [2, 1, 1]
    assert np.allclose(again, first[[1, 0]], atol=1e-5)
