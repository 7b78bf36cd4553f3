"""Packing: short conversations share a row, and each sees itself alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def pack(examples: Sequence[dict[str, list[int]]], length: int) -> list[dict[str, Any]]:
    """Return rows of at most `length` tokens, filled by best-fit decreasing (Ding et al. 2024).

    A row's `seq_lengths` are the lengths of its conversations. From them the trainer numbers positions anew at each
    start, and attention then stays within a conversation as long as the model keeps no cache.
    """
    from datasets import Dataset
    from trl import pack_dataset

    columns = {name: [one[name] for one in examples] for name in ("input_ids", "labels")}
    return list(pack_dataset(Dataset.from_dict(columns), length, "bfd").to_list())
