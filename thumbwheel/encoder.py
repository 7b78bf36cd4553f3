"""The sentence model for a text at a time, as a service needs it: in memory, with the vectors of the last few texts."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from thumbwheel.embedding import CHARACTERS, TOKENS, load_model

if TYPE_CHECKING:
    import numpy as np

Encode = Callable[[Sequence[str]], "np.ndarray"]


class Encoder:
    """Unit vectors by all-MiniLM-L6-v2, the same as `embedding.embed` gives but for its rounding to 16 bits.

    `threads` is of all of torch in this process; `kept` vectors are remembered by a hash of what the model reads.
    """

    def __init__(self, dtype: str, threads: int, kept: int) -> None:
        self._dtype, self._threads, self._most = dtype, threads, kept
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None
        self._kept: OrderedDict[bytes, np.ndarray] = OrderedDict()

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Return vectors of shape (texts, width) in float32; the first call loads the model."""
        import numpy as np

        model, tokenizer = self._model()
        readable = [text[:CHARACTERS].encode("utf-8", "replace").decode() for text in texts]
        rows: list[list[int]] = tokenizer(readable, truncation=True, max_length=TOKENS)["input_ids"]
        keys = [hashlib.blake2b(np.asarray(row, np.int32).tobytes(), digest_size=16).digest() for row in rows]
        known = self._known(keys)
        new = {key: row for key, row in zip(keys, rows, strict=True) if key not in known}
        if new:
            vectors = _forward(model, tokenizer.pad({"input_ids": [*new.values()]}, return_tensors="pt"))
            known |= dict(zip(new, vectors, strict=True))
        self._keep(known)
        return np.stack([known[key] for key in keys])

    def _model(self) -> tuple[Any, Any]:
        import torch

        with self._lock:
            if self._loaded is None:
                torch.set_num_threads(self._threads)
                self._loaded = load_model(self._dtype)
            return self._loaded

    def _known(self, keys: Iterable[bytes]) -> dict[bytes, np.ndarray]:
        with self._lock:
            return {key: self._kept[key] for key in keys if key in self._kept}

    def _keep(self, vectors: dict[bytes, np.ndarray]) -> None:
        with self._lock:
            for key, vector in vectors.items():
                self._kept[key] = vector
                self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)


def _forward(model: Any, inputs: Any) -> np.ndarray:
    """Return the normalised means of the last hidden states, shape (texts, width)."""
    import numpy as np
    import torch

    with torch.inference_mode():
        hidden = model(**inputs.to(model.device)).last_hidden_state.float()
        weight = inputs["attention_mask"].to(hidden)[:, :, None]
        means = (hidden * weight).sum(dim=1) / weight.sum(dim=1)
        return np.asarray(torch.nn.functional.normalize(means).cpu().numpy(), np.float32)
