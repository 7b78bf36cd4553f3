"""The facts of the data card, from the tables and pins of the data stages: what came, what went and why, what is left.

Used by `stages.describe`. Texts come from tables behind `scrub` alone: nothing raw is ever shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from thumbwheel.lake import Pin
from thumbwheel.params import Params

if TYPE_CHECKING:
    import numpy as np

STAGES = ("ingest", "dedup", "scrub", "grade", "split")
KINDS = ("conversations", "preferences")
SIDES = ("train", "validation", "test")
UNEXPLAINED = "unexplained"
THUMBS = "thumbs_turned_away"
"""In the facts of a pin, which of its rejections were thumbs."""
SHOWABLE = "\n\t\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"

LABEL = 60
"""Characters of a licence, language or source that are shown."""

Tables = Mapping[str, pa.Table]
"""Tables by `stage.table`."""


class DescribeParams(Params):
    examples: int = Field(ge=0)
    """Conversations shown, one a topic, the largest topics first."""
    listed: int = Field(ge=0)
    """Lines of the longest lists: leaks, clusters of duplicates."""
    shown_characters: int = Field(ge=1)
    map_points: int = Field(ge=0)


@dataclass(frozen=True)
class Step:
    """What a stage did to the rows of both tables: `arrived` and `joined` are `kept` and `lost` together."""

    stage: str
    arrived: int
    joined: int
    kept: int
    lost: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return self.arrived + self.joined


@dataclass(frozen=True)
class Histogram:
    """`counts[i]` rows have a value of at least `edges[i]` and less than `edges[i + 1]`; the last bin is open."""

    title: str
    edges: tuple[int, ...]
    counts: tuple[int, ...]
    median: int


@dataclass(frozen=True)
class Said:
    """A conversation as it is shown, its messages cut."""

    id: str
    note: str
    messages: tuple[tuple[str, str], ...]


def funnel(pins: Mapping[str, Pin]) -> list[Step]:
    """Return what each stage did to the rows, in turn; a loss that no reason explains is named as such.

    Thumbs are no rows of either table, so those that a stage turned away are not counted.
    """
    steps: list[Step] = []
    arrived = 0
    for stage in STAGES:
        pin = pins[stage]
        kept = sum(pin.tables[kind].rows for kind in KINDS)
        lost = dict(Counter(pin.rejections) - Counter(pin.facts.get(THUMBS, {})))
        joined = kept + sum(lost.values()) - arrived
        if joined < 0:
            lost[UNEXPLAINED] = -joined
        steps.append(
            Step(stage, arrived, max(joined, 0), kept, dict(sorted(lost.items(), key=lambda x: (-x[1], x[0]))))
        )
        arrived = kept
    return steps


def side_counts(tables: Tables) -> dict[str, dict[str, int]]:
    """Return how many rows of each kind stand on each side."""
    counts = {kind: _counts(tables[f"split.{kind}"]["split"]) for kind in KINDS}
    return {kind: {side: found.get(side, 0) for side in SIDES} for kind, found in counts.items()}


def sources(tables: Tables) -> list[dict[str, Any]]:
    """Return each source with its licences and how many rows were turned away at the door, came in, and were kept.

    The largest first; one of which no row fits is there, too.
    """
    came, kept, licences = Counter[str](), Counter[str](), dict[str, set[str]]()
    refused = Counter(_word(source.partition(":")[0]) for source in tables["ingest.quarantine"]["source"].to_pylist())
    for kind in KINDS:
        came.update(_counts(tables[f"ingest.{kind}"]["source"]))
        after = tables[f"split.{kind}"]
        kept.update(_counts(after["source"]))
        for source, licence in zip(*(after[name].to_pylist() for name in ("source", "licence")), strict=True):
            licences.setdefault(_word(source), set()).add(_word(licence))
    names = sorted({*refused, *came, *kept}, key=lambda name: (-kept[name], name))
    return [
        {
            "source": name,
            "licence": ", ".join(sorted(licences.get(name, ()))),
            "refused": refused[name],
            "came": came[name],
            "kept": kept[name],
        }
        for name in names
    ]


def shares(tables: Tables, column: str, kinds: Sequence[str] = KINDS) -> list[tuple[str, int]]:
    """Return the values of a column of what was kept, with their rows, the most frequent first."""
    counts: Counter[str] = Counter()
    for kind in kinds:
        counts.update(_counts(tables[f"split.{kind}"][column]))
    return sorted(counts.items(), key=lambda found: (-found[1], found[0]))


def period(tables: Tables) -> tuple[str, str] | None:
    """Return the first and the last day of the kept rows, None where no row is dated."""
    moments = [
        moment for kind in KINDS for moment in pc.unique(tables[f"split.{kind}"]["created_at"]).to_pylist() if moment
    ]
    return (min(moments)[:10], max(moments)[:10]) if moments else None


def lengths(conversations: pa.Table) -> list[Histogram]:
    """Return histograms of turns and characters of conversations, and of characters of replies."""
    import numpy as np

    messages = conversations["messages"].combine_chunks()
    sizes = pc.list_value_length(messages).to_numpy(zero_copy_only=False).astype(np.int64)
    flat = messages.flatten()
    characters = pc.utf8_length(flat.field("content")).to_numpy(zero_copy_only=False).astype(np.int64)
    row = np.repeat(np.arange(len(sizes)), sizes)
    roles = np.asarray(flat.field("role").to_pylist(), object)
    users = np.bincount(row[roles == "user"], minlength=len(sizes))
    whole = np.bincount(row, weights=characters, minlength=len(sizes)).astype(np.int64)
    return [
        histogram("User messages of a conversation", users),
        histogram("Characters of a conversation", whole),
        histogram("Characters of a reply", characters[roles == "assistant"]),
    ]


def histogram(title: str, values: np.ndarray) -> Histogram:
    """Return a histogram over powers of two, without the empty bins at its ends."""
    import numpy as np

    if not len(values):
        return Histogram(title, (0,), (0,), 0)
    bins = np.floor(np.log2(np.maximum(values, 1))).astype(np.int64)
    first = int(bins.min())
    counts = np.bincount(bins - first)
    edges = tuple(2 ** (first + i) if first + i else int(values.min() > 0) for i in range(len(counts)))
    return Histogram(title, edges, tuple(counts.tolist()), int(np.median(values)))


def duplicates(tables: Tables, params: DescribeParams) -> dict[str, Any]:
    """Return clusters of duplicates by size, and the largest with what was kept of them."""
    dropped = tables["dedup.dropped"]
    members = Counter(dropped["cluster"].to_pylist())
    sizes = Counter(n + 1 for n in members.values())
    largest = sorted(members.items(), key=lambda found: (-found[1], found[0]))[: params.listed]
    texts = _texts(tables, [cluster for cluster, _ in largest], params.shown_characters)
    return {
        "reasons": sorted(_counts(dropped["reason"]).items()),
        "sizes": sorted(sizes.items()),
        "largest": [{"id": i, "size": n + 1, "text": texts.get(i)} for i, n in largest],
    }


def personal(tables: Tables, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return how often each kind of personal data that was looked for was found, and in how many rows.

    The most frequent first; `facts` are those of `scrub`, whose `findings` name the kinds that were not found, too.
    """
    found = (
        tables["scrub.findings"].group_by("kind").aggregate([("count", "sum"), ("id", "count_distinct")]).to_pylist()
    )
    rows = [{"kind": row["kind"], "count": row["count_sum"], "rows": row["id_count_distinct"]} for row in found]
    absent = set(facts["findings"]) - {row["kind"] for row in rows}
    rows += [{"kind": kind, "count": 0, "rows": 0} for kind in absent]
    return sorted(rows, key=lambda row: (-row["count"], row["kind"]))


def leaks(tables: Tables, facts: Mapping[str, Any], params: DescribeParams) -> dict[str, Any]:
    """Return leaks both ways: by set, the questions with most rows, and the rows with what they hold."""
    found = tables["split.leaks"].to_pylist()
    by_question: dict[tuple[str, str], list[dict[str, Any]]] = {}
    by_row: dict[str, list[dict[str, Any]]] = {}
    for leak in found:
        by_question.setdefault((leak["set"], leak["question"]), []).append(leak)
        by_row.setdefault(leak["id"], []).append(leak)
    questions = sorted(by_question.items(), key=lambda each: (-len(each[1]), each[0]))[: params.listed]
    rows = sorted(
        by_row.items(), key=lambda each: (-len(each[1]), -max(leak["similarity"] for leak in each[1]), each[0])
    )
    texts = _texts(tables, [i for i, _ in rows[: params.listed]], params.shown_characters)
    return {
        "sets": [{"set": name, **counts} for name, counts in sorted(facts["leaks"].items())],
        "questions": [{"set": s, "question": q, **_strongest(some), "rows": len(some)} for (s, q), some in questions],
        "rows": [{"id": i, "text": texts.get(i), "leaks": some} for i, some in rows[: params.listed]],
        "more_questions": len(by_question) - len(questions),
        "more_rows": max(0, len(rows) - params.listed),
    }


def examples(conversations: pa.Table, topics: Sequence[Mapping[str, Any]], params: DescribeParams) -> list[Said]:
    """Return one learnt conversation of each of the largest topics: the one with the smallest id, which is a hash."""
    learnt = conversations.filter(pc.equal(conversations["split"], "train"))
    found = []
    for topic in topics[: params.examples]:
        mine = learnt.filter(pc.equal(learnt["cluster"], topic["cluster"])).sort_by("id").slice(0, 1).to_pylist()
        found += [said(row, topic["terms"], params.shown_characters) for row in mine]
    return found


def said(row: Mapping[str, Any], note: str, characters: int) -> Said:
    """Return a conversation as it is shown."""
    return Said(row["id"], note, tuple((m["role"], cut(m["content"], characters)) for m in row["messages"]))


def cut(text: str, characters: int) -> str:
    """Return a text fit to be shown: cut where it is too long, and without control characters, which could turn the
    direction of a page; joiners stay, for some scripts and emoji need them."""
    whole = text if len(text) <= characters else text[: characters - 1].rstrip() + "…"
    return "".join(c if c.isprintable() or c in SHOWABLE else "\N{REPLACEMENT CHARACTER}" for c in whole)


def _texts(tables: Tables, ids: Sequence[str], characters: int) -> dict[str, str]:
    """Return the scrubbed text of rows by id: what the user asked first."""
    found: dict[str, str] = {}
    for kind, column in (("conversations", "messages"), ("preferences", "prompt")):
        table = tables[f"scrub.{kind}"]
        mine = table.filter(pc.is_in(table["id"], pa.array(ids, pa.string()))).select(["id", column]).to_pylist()
        for row in mine:
            asked = next((m["content"] for m in row[column] if m["role"] == "user"), "")
            found[row["id"]] = cut(asked, characters)
    return found


def _strongest(some: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    best = max(some, key=lambda leak: (leak["similarity"], leak["how"]))
    return {"part": best["part"], "how": best["how"], "similarity": best["similarity"]}


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for found in pc.value_counts(column).to_pylist():
        counts[_word(found["values"])] += found["counts"]
    return counts


def _word(value: str | None) -> str:
    return cut(value, LABEL) if value else "not given"
