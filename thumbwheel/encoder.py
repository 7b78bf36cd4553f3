"""The sentence model for a text at a time, as a service needs it: kept in memory, one thread, nothing kept of texts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from thumbwheel.embedding import CHARACTERS, TOKENS, load_model

if TYPE_CHECKING:
    import numpy as np

Encode = Callable[[Sequence[str]], "np.ndarray"]


class Encoder:
    """Unit vectors by all-MiniLM-L6-v2, the same as `embedding.embed` gives but for its rounding to 16 bits."""

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Return vectors of shape (texts, width) in float32; the first call loads the model."""
        import numpy as np
        import torch

        with self._lock:
            self._loaded = self._loaded or load_model(self._dtype)
            model, tokenizer = self._loaded
        readable = [text[:CHARACTERS].encode("utf-8", "replace").decode() for text in texts]
        inputs = tokenizer(readable, truncation=True, max_length=TOKENS, padding=True, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(**inputs.to(model.device)).last_hidden_state.float()
            weight = inputs["attention_mask"].to(hidden)[:, :, None]
            means = (hidden * weight).sum(dim=1) / weight.sum(dim=1)
            return np.asarray(torch.nn.functional.normalize(means).cpu().numpy(), np.float32)
