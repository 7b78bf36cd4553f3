"""Rows to be split, and the parameters they are split by."""

from __future__ import annotations

from typing import Any

from stages.split import SplitParams

PARAMS = SplitParams(
    validation=0.1,
    test=0.1,
    seed=17,
    always_train=("edit",),
    clusters=3,
    topic_terms=2,
    topic_fit_rows=100,
    topic_least_rows=12,
    leak_words=8,
    leak_answer_share=0.5,
    leak_sentence_words=4,
    leak_cosine=0.9,
    dtype="float32",
    near_words=3,
    near_jaccard=0.5,
    near_cosine=0.95,
)
LONG = "My parcel has been waiting at the depot since last Tuesday, what now?"


def chat(name: str, *texts: str, user: str | None = None) -> dict[str, Any]:
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
    return {"id": name, "messages": messages, "user": user, "created_at": None}


def pair(name: str, prompt: str, origin: str = "public") -> dict[str, Any]:
    asked = [{"role": "user", "content": prompt}]
    row = {"id": name, "prompt": asked, "chosen": "yes", "rejected": "no", "origin": origin}
    return {**row, "user": None, "created_at": None}
