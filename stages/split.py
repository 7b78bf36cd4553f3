"""Split conversations and pairs into train, validation and test, and take out what an evaluation would reward.

    python -m stages.split

A row's side is a hash of its user, or of the user's words where no user is known, and of nothing else: whatever data
comes, a row once held out is never learnt from, nor the other way round. Where no user is known, rows that are nearly
the same mostly have one hash (`sides.items.keys`). Those that fall on two sides all the same, and a user's rows that
would, cannot both stay: the younger goes. It is dropped, never moved. So as long as new rows are younger than old ones,
no old row goes either, what a past model has learnt never resembles what a new one is tested on, and a question that
many users ask is learnt, or tested, on the one side where it was first seen.

What holds an evaluation question is dropped altogether (`stages.sides.decontaminate`).
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import Field, model_validator

from stages.sides.decontaminate import LEAK, Leak, LeakParams, find_leaks, leak_row, leaks_by_set, probes
from stages.sides.items import (
    Corpus,
    Item,
    conversation_item,
    keys,
    mean_vectors,
    preference_item,
    read_corpus,
    thumb_item,
)
from stages.sides.straddle import Pairs, alike_by_meaning, alike_by_words, of_one_user, settle
from stages.sides.topics import PLACE, SIDES, TOPIC, TopicParams, Topics, coverage, find_topics, project
from thumbwheel.command import run
from thumbwheel.embedding import Dtype, embed
from thumbwheel.errors import TrainingError
from thumbwheel.lake import Pin, read_pinned, write_pin, write_table
from thumbwheel.params import load_params
from thumbwheel.records import CONVERSATION, PREFERENCE, THUMB, Origin, to_table
from thumbwheel.tracking import StageRun, stage_run

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

SPLIT_CONVERSATION = pa.schema(
    [*CONVERSATION, ("split", pa.string()), ("cluster", pa.int64()), ("topic_terms", pa.string())]
)
SPLIT_PREFERENCE = pa.schema([*PREFERENCE, ("split", pa.string())])
SPLIT_THUMB = pa.schema([*THUMB, ("split", pa.string())])
TABLES = ("conversations", "preferences", "unpaired")
DROPPED = pa.schema(
    [
        ("id", pa.string()),
        ("table", pa.string()),
        ("reason", pa.string()),
        ("how", pa.string()),
        ("other", pa.string()),
        ("similarity", pa.float64()),
    ]
)
"""`reason` is `leaked:SET`, `near:SIDE` or `user:SIDE`; `other` the question, or the row on that side, that it
resembles or that is of the same user."""

Rows = Sequence[Mapping[str, Any]]


class SplitParams(LeakParams, TopicParams):
    validation: float = Field(ge=0, lt=1)
    test: float = Field(ge=0, lt=1)
    """Shares of all rows; pairs have no test side, theirs goes to validation."""
    seed: int
    always_train: tuple[Origin, ...]
    """Origins of pairs that are always learnt from: a thumb is too rare to hold out."""
    dtype: Dtype
    """Of the sentence model: `float32`, or `bfloat16`, which is several times as fast where the processor knows it."""
    near_words: int = Field(ge=1)
    """Length of the word n-grams; another length is another split, as another seed is."""
    near_jaccard: float = Field(gt=0, le=1)
    near_cosine: float = Field(gt=0, le=1)
    """What may not stand on two sides: Jaccard of n-grams of the whole row, cosine of the user's words."""

    @model_validator(mode="after")
    def _something_is_learnt_from(self) -> SplitParams:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation {self.validation:g} and test {self.test:g} leave nothing to learn from")
        return self


@dataclass(frozen=True)
class Drop:
    """Why a row takes no part, how that was seen, and what it resembles."""

    reason: str
    how: str
    other: str
    similarity: float


def side(key: str, params: SplitParams) -> str:
    """Return `train`, `validation` or `test` for a key, by its hash alone."""
    digest = hashlib.sha256(f"{params.seed}\x1f{key}".encode("utf-8", "surrogatepass")).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < params.test:
        return "test"
    return "validation" if place < params.test + params.validation else "train"


def sides(items: Sequence[Item], corpus: Corpus, params: SplitParams) -> list[str]:
    """Return the side of each item."""
    found = keys(items, corpus, params.near_words)
    return ["train" if item.forced else side(key, params) for item, key in zip(items, found, strict=True)]


def leak_drops(leaks: Iterable[Leak]) -> dict[int, Drop]:
    """Return which rows go because they hold a question, each with the first that it holds most of."""
    best: dict[int, Leak] = {}
    for leak in leaks:
        known = best.get(leak.row)
        if known is None or leak.similarity > known.similarity:
            best[leak.row] = leak
    return {
        row: Drop(f"leaked:{leak.probe.set}", leak.how, leak.probe.question, round(leak.similarity, 6))
        for row, leak in best.items()
    }


def find_straddlers(
    items: Sequence[Item],
    where: Sequence[str],
    corpus: Corpus,
    means: np.ndarray,
    skip: Iterable[int],
    params: SplitParams,
) -> dict[int, Drop]:
    """Return which items must go because one that comes first stands on another side, nearly the same or of one user.

    First come the forced, then the older, undated ones last. `means` has a unit vector an item; those in `skip` take
    no part.
    """
    import numpy as np

    codes = np.array([SIDES.index(at) for at in where], np.int64)
    codes[list(skip)] = -1
    pairs = _across(items, codes, corpus, means, params)
    order = sorted(range(len(items)), key=lambda i: items[i].turn)
    return {
        i: Drop(
            f"{'user' if rival.how == 'user' else 'near'}:{where[rival.row]}",
            rival.how,
            items[rival.row].id,
            round(rival.similarity, 6),
        )
        for i, rival in settle(order, pairs).items()
    }


def _across(
    items: Sequence[Item], codes: np.ndarray, corpus: Corpus, means: np.ndarray, params: SplitParams
) -> list[Pairs]:
    return [
        of_one_user([item.user for item in items], codes),
        alike_by_words(*corpus.grams(params.near_words), codes, params.near_jaccard),
        alike_by_meaning(means, codes, params.near_cosine),
    ]


def split(
    tables: Mapping[str, pa.Table], items: Sequence[Item], questions: Rows, params: SplitParams
) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """Return the tables to write and the facts; `items` are the rows of all `tables`, in the order of `TABLES`."""
    corpus = read_corpus(items)
    looked_for = probes(questions)
    texts = [text for item in items for text in item.asked] + [p.text for p in looked_for if not p.is_answer]
    vectors = embed(texts, params.dtype)
    means = mean_vectors(items, vectors)
    where = sides(items, corpus, params)
    leaks = find_leaks(corpus, looked_for, vectors, params)
    dropped = leak_drops(leaks)
    dropped |= find_straddlers(items, where, corpus, means, dropped, params)
    chats = tables["conversations"].num_rows
    topics = find_topics(means[:chats], corpus, params, params.seed)
    kept = [i for i in range(len(items)) if i not in dropped]
    written = _sided(tables, kept, where, topics)
    written["dropped"] = to_table(
        ({"id": items[i].id, "table": items[i].table, **vars(drop)} for i, drop in sorted(dropped.items())), DROPPED
    )
    written["leaks"] = to_table((leak_row(leak, items[leak.row]) for leak in leaks), LEAK)
    written["topics"] = to_table(coverage(topics, where, dropped, params.topic_least_rows), TOPIC)
    written["map"] = _map(written["conversations"], project(means[:chats])[[i for i in kept if i < chats]])
    return written, {"leaks": leaks_by_set(leaks, questions)}


def main() -> None:
    """Split both tables of `grade`, and the thumbs; write them, what was dropped and why, the topics, and the pin."""
    params = load_params("split", SplitParams)
    with stage_run("split", params) as tracked:
        tables = {name: read_pinned("grade", name) for name in ("conversations", "preferences")}
        tables["unpaired"] = read_pinned("scrub", "unpaired")
        questions = read_pinned("pose", "questions").to_pylist()
        if not tables["conversations"].num_rows:
            raise TrainingError("no conversation is left to split; see data/pins/ingest.json and grade.json for why.")
        items = [conversation_item(row) for row in tables["conversations"].to_pylist()]
        items += [preference_item(row, params.always_train) for row in tables["preferences"].to_pylist()]
        items += [thumb_item(row) for row in tables["unpaired"].to_pylist()]
        written, facts = split(tables, items, questions, params)
        _report(written, tracked)
        pins = {name: write_table(f"split_{name}", table) for name, table in written.items()}
        facts |= {"sizes": _sizes(written), "thumbs_turned_away": _reasons(written["dropped"], ("unpaired",))}
        write_pin(Pin(stage="split", tables=pins, rejections=_reasons(written["dropped"], TABLES), facts=facts))


def _sided(
    tables: Mapping[str, pa.Table], kept: Sequence[int], where: Sequence[str], topics: Topics
) -> dict[str, pa.Table]:
    """Return all tables with what is kept of them, and where it stands."""
    ends = list(accumulate((tables[name].num_rows for name in TABLES), initial=0))
    chats, pairs, thumbs = ([i for i in kept if start <= i < end] for start, end in pairwise(ends))
    labels = topics.labels[chats].tolist()
    columns = [[where[i] for i in chats], labels, [topics.terms[label] for label in labels]]
    pair_sides, thumb_sides = [_pair_side(where[i]) for i in pairs], [where[i] for i in thumbs]
    return {
        "conversations": _with(tables["conversations"], chats, columns, SPLIT_CONVERSATION),
        "preferences": _with(tables["preferences"], [i - ends[1] for i in pairs], [pair_sides], SPLIT_PREFERENCE),
        "unpaired": _with(tables["unpaired"], [i - ends[2] for i in thumbs], [thumb_sides], SPLIT_THUMB),
    }


def _with(table: pa.Table, rows: Sequence[int], columns: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    """Return some rows of a table with further columns."""
    known = schema.names[: -len(columns)]
    taken = table.select(known).take(pa.array(rows, pa.int64()))
    added = [
        pa.array(column, schema.field(name).type)
        for name, column in zip(schema.names[len(known) :], columns, strict=True)
    ]
    return pa.Table.from_arrays([*taken.columns, *added], schema=schema)


def _map(conversations: pa.Table, places: np.ndarray) -> pa.Table:
    columns = [conversations[name] for name in ("id", "split", "cluster")]
    return pa.Table.from_arrays([*columns, *(pa.array(axis) for axis in places.round(4).T)], schema=PLACE)


def _reasons(dropped: pa.Table, tables: Sequence[str]) -> dict[str, int]:
    """Return how many rows of some tables were dropped for each reason."""
    places = zip(*(dropped[name].to_pylist() for name in ("table", "reason")), strict=True)
    return dict(sorted(Counter(reason for table, reason in places if table in tables).items()))


def _sizes(written: Mapping[str, pa.Table]) -> dict[str, dict[str, int]]:
    return {name: dict(sorted(Counter(written[name]["split"].to_pylist()).items())) for name in TABLES}


def _report(written: Mapping[str, pa.Table], tracked: StageRun) -> None:
    """Say how large the sides are, and which topic lacks one."""
    sizes = _sizes(written)
    lacking = [topic for topic in written["topics"].to_pylist() if topic["lacks"]]
    tracked.metrics({f"{table}_{name}": n for table, some in sizes.items() for name, n in some.items()})
    tracked.metrics({"leaks": written["leaks"].num_rows, "topics_lacking": len(lacking)})
    log.info("%s; dropped: %d", sizes, written["dropped"].num_rows)
    for topic in lacking:
        log.warning("topic '%s' (%d rows) has none in %s", topic["terms"], topic["rows"], topic["lacks"])


def _pair_side(at: str) -> str:
    return "validation" if at == "test" else at


if __name__ == "__main__":
    run(main)
