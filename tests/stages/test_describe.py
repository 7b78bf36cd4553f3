"""The data card says what the tables say, of scrubbed text alone, the same for the same data, on one safe page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stages import dedup, scrub, split
from stages import describe as module
from stages.card import card
from stages.card.card import DescribeParams, cut, funnel, histogram, lengths
from stages.describe import cell, describe, main, percent
from stages.sides.topics import PLACE, TOPIC
from thumbwheel import tracking
from thumbwheel.graph import load_graph
from thumbwheel.lake import Pin, TablePin, read_table, write_pin, write_table
from thumbwheel.records import CONVERSATION, PREFERENCE, QUARANTINE, to_table
from thumbwheel.settings import REPOSITORY, settings

PARAMS = DescribeParams(examples=2, listed=2, shown_characters=40, map_points=3)
RAW = "raw-secret@example.org"
MARKUP = "<script>alert('x')</script> | *bold*"


def chat(name: str, text: str, side: str = "train", cluster: int = 0) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": "Yes."}]
    row = {"id": name, "messages": messages, "source": "web", "licence": "CC0-1.0", "lang": "en"}
    return {**row, "created_at": "2026-02-03T00:00:00+00:00", "split": side, "cluster": cluster, "topic_terms": "taps"}


def pair(name: str, origin: str = "public") -> dict[str, Any]:
    prompt = [{"role": "user", "content": "Which?"}]
    return {"id": name, "prompt": prompt, "chosen": "a", "rejected": "b", "origin": origin, "objective": "helpful"}


def without(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return to_table(({k: v for k, v in row.items() if k in schema.names} for row in rows), schema)


CHATS = [
    chat("a1", "Where is the tap? " + MARKUP),
    {**chat("b2", "שלום \u202e\x00 🙂", "test"), "lang": "my\u202e" + "own" * 100},
    chat("c3", "Hub?", "validation", 1),
]
GONE = [chat("d4", "A leaked question", "train"), chat("e5", "Bad", "train")]


def tables() -> dict[str, dict[str, pa.Table]]:
    """The tables of the five stages over a handful of rows."""
    raw = [{**row, "messages": [{"role": "user", "content": RAW}]} for row in [*CHATS, *GONE, chat("f6", "x")]]
    scrubbed = {
        "conversations": without([*CHATS, *GONE], CONVERSATION),
        "preferences": to_table([pair("p")], PREFERENCE),
    }
    drop = {"id": "f6", "table": "conversations", "keeper": "a1", "cluster": "a1", "reason": "near", "similarity": 0.9}
    finding = {"id": "a1", "table": "conversations", "kind": "email", "count": 2}
    leak = {"id": "d4", "table": "conversations", "set": "mt_bench", "question": "q1", "part": "turn 1", "how": "words"}
    topics = [
        {"cluster": 0, "terms": "taps", "rows": 2, "train": 1, "validation": 0, "test": 1, "lacks": "validation"},
        {"cluster": 1, "terms": "", "rows": 1, "train": 0, "validation": 1, "test": 0, "lacks": ""},
    ]
    places = [
        {"id": c["id"], "split": c["split"], "cluster": c["cluster"], "x": float(i), "y": -float(i)}
        for i, c in enumerate(CHATS)
    ]
    return {
        "ingest": {
            "conversations": without(raw, CONVERSATION),
            "preferences": to_table([], PREFERENCE),
            "quarantine": to_table([{"source": f"{s}:chats.jsonl", "row": RAW} for s in ("web", "torn")], QUARANTINE),
        },
        "dedup": {
            "conversations": without([*CHATS, *GONE], CONVERSATION),
            "preferences": to_table([], PREFERENCE),
            "dropped": to_table([drop], dedup.DROPPED),
        },
        "scrub": {**scrubbed, "findings": to_table([finding], scrub.FINDINGS)},
        "grade": {"conversations": without([*CHATS, GONE[0]], CONVERSATION), "preferences": scrubbed["preferences"]},
        "split": {
            "conversations": without(CHATS, split.SPLIT_CONVERSATION),
            "preferences": to_table([{**pair("p"), "split": "train"}], split.SPLIT_PREFERENCE),
            "dropped": to_table([], split.DROPPED),
            "leaks": to_table([{**leak, "similarity": 0.5}], split.LEAK),
            "topics": to_table(topics, TOPIC),
            "map": to_table(places, PLACE),
        },
    }


REJECTED = {
    "ingest": {"json": 2},
    "dedup": {"near_duplicate": 1},
    "scrub": {},
    "grade": {"truncated": 1},
    "split": {"leaked:mt_bench": 1},
}
FACTS: dict[str, dict[str, Any]] = {
    "scrub": {"findings": {"email": 2, "card": 0}, "not_looked_for": ["date_of_birth", "person"]},
    "split": {"leaks": {"mt_bench": {"questions": 3, "leaked": 1, "in_words": 1, "in_meaning": 0, "rows": 1}}},
}


def pins(found: dict[str, dict[str, pa.Table]]) -> dict[str, Pin]:
    return {
        stage: Pin(
            stage=stage,
            tables={
                name: TablePin(table=f"{stage}_{name}", version=0, rows=table.num_rows, fingerprint="f" * 64)
                for name, table in some.items()
            },
            rejections=REJECTED[stage],
            facts=FACTS.get(stage, {}),
        )
        for stage, some in found.items()
    }


def flat(found: dict[str, dict[str, pa.Table]]) -> dict[str, pa.Table]:
    return {f"{stage}.{name}": table for stage, some in found.items() for name, table in some.items()}


def pages() -> dict[str, str]:
    found = tables()
    return describe(pins(found), flat(found), PARAMS)


class Page(HTMLParser):
    """Collects the tags and what they refer to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.unnamed = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        self.tags.append(tag)
        self.references += [value for name, value in attrs if name in ("src", "href", "srcset") and value]
        if tag == "svg" and not (said.get("aria-label") or said.get("aria-labelledby")):
            self.unnamed += 1


def test_the_funnel_accounts_for_every_row_and_sees_what_joins() -> None:
    steps = funnel(pins(tables()))
    assert [(s.stage, s.arrived, s.joined, s.kept) for s in steps] == [
        ("ingest", 0, 8, 6),
        ("dedup", 6, 0, 5),
        ("scrub", 5, 1, 6),
        ("grade", 6, 0, 5),
        ("split", 5, 0, 4),
    ]
    assert all(step.total == step.kept + sum(step.lost.values()) for step in steps)


def test_a_loss_without_a_reason_is_named() -> None:
    found = pins(tables())
    found["grade"] = found["grade"].model_copy(update={"rejections": {}})
    assert funnel(found)[3].lost == {"unexplained": 1}
    assert "not accounted for" in describe(found, flat(tables()), PARAMS)["data_card.html"]


def test_thumbs_that_were_turned_away_are_no_rows_of_the_funnel() -> None:
    found = pins(tables())
    for stage, reason in (("scrub", "pii_ssn"), ("split", "leaked:mt_bench")):
        more = {**found[stage].rejections, reason: found[stage].rejections.get(reason, 0) + 3}
        facts = {**found[stage].facts, card.THUMBS: {reason: 3}}
        found[stage] = found[stage].model_copy(update={"rejections": more, "facts": facts})
    assert funnel(found) == funnel(pins(tables()))


def test_nothing_raw_is_shown_and_every_text_is_escaped() -> None:
    for page in pages().values():
        assert RAW not in page
        assert not re.search(r"(?<!\\)<script", page)
        assert "\x00" not in page
        assert "\u202e" not in page
        assert "own" * 30 not in page
    assert "&lt;script&gt;" in pages()["data_card.html"]
    assert r"\<script\>" in pages()["data_card.md"]


def test_the_page_needs_nothing_from_elsewhere_and_names_its_pictures() -> None:
    page = Page(pages()["data_card.html"])
    assert page.references
    assert all(reference.startswith("#") for reference in page.references)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert page.tags.count("svg") == 5
    assert page.unnamed == 0


def test_both_pages_say_the_same_numbers() -> None:
    html, markdown = pages()["data_card.html"], pages()["data_card.md"]
    words = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert "Of 8 conversations and preference pairs that came in, 4 are left" in words
    assert (
        "Of 8 conversations and preference pairs that came in, 4 are left: 2 to learn from and 2 held out." in markdown
    )
    assert "| mt\\_bench q1 | turn 1 | 1 | words | 0.50 |" in markdown
    assert "mt_bench · q1" in html
    assert "| email | 2 | 1 |\n| card | 0 | 0 |" in markdown
    for page in (words, markdown):
        assert "Not looked for: date of birth, person." in page
    assert "2 rows: Where is the tap?" in markdown
    assert "| web | CC0-1.0 | 1 | 6 | 3 |" in markdown
    assert "| torn |  | 1 | 0 | 0 |" in markdown
    assert "none in validation" in html


def test_the_same_data_gives_the_same_bytes() -> None:
    assert pages() == pages()


def test_examples_are_learnt_from_and_cut() -> None:
    found = tables()
    (one,) = card.examples(found["split"]["conversations"], found["split"]["topics"].to_pylist(), PARAMS)
    assert one.id == "a1"
    assert len(one.messages[0][1]) == PARAMS.shown_characters
    assert one.messages[0][1].endswith("…")


@given(st.text(), st.integers(1, 20))
def test_a_cut_text_is_short_and_turns_nothing_round(text: str, characters: int) -> None:
    shown = cut(text, characters)
    assert len(shown) <= max(characters, 1)
    assert all(c.isprintable() or c in card.SHOWABLE for c in shown)


@given(st.text(max_size=30))
def test_a_text_stays_in_its_cell_of_a_markdown_table(text: str) -> None:
    assert "\n" not in cell(text)
    assert not re.search(r"(?<!\\)(\\\\)*[|<]", cell(text))


@given(st.lists(st.integers(0, 10**7)))
def test_every_value_falls_into_one_bin(values: list[int]) -> None:
    found = histogram("x", np.array(values, np.int64))
    assert sum(found.counts) == len(values)
    for edge, following, count in zip(found.edges, [*found.edges[1:], 10**9], found.counts, strict=True):
        assert count == sum(edge <= value < following for value in values)


def test_lengths_count_characters_and_not_bytes() -> None:
    table = without([chat("a", "é漢🙂")], CONVERSATION)
    assert [found.median for found in lengths(table)] == [1, 7, 4]


@pytest.mark.parametrize(
    ("part", "whole", "said"), [(0, 0, "–"), (1, 2, "50 %"), (1, 99, "1.0 %"), (1, 9999, "< 0.1 %")]
)
def test_shares_are_said_as_a_person_would(part: int, whole: int, said: str) -> None:
    assert percent(part, whole) == said


def test_the_stage_writes_both_pages_and_logs_them_and_reads_no_raw_text(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: dict[str, list[str]] = {}

    def noted(pin: TablePin, columns: Sequence[str] | None) -> pa.Table:
        table = read_table(pin, columns)
        read[pin.table] = table.column_names
        return table

    monkeypatch.setattr(module, "read_table", noted)
    for stage, some in tables().items():
        written = {name: write_table(f"{stage}_{name}", table) for name, table in some.items()}
        write_pin(Pin(stage=stage, tables=written, rejections=REJECTED[stage], facts=FACTS.get(stage, {})))
    (workspace / "params.yaml").write_text(yaml.safe_dump({"describe": PARAMS.model_dump()}))
    main()
    assert [read[f"ingest_{name}"] for name in ("conversations", "preferences", "quarantine")] == [["source"]] * 3
    files = {path.name: path.read_bytes() for path in settings().reports.iterdir()}
    assert set(files) == {"data_card.html", "data_card.md"}
    main()
    assert {path.name: path.read_bytes() for path in settings().reports.iterdir()} == files
    api = tracking.client()
    runs = api.search_runs(["1"], "tags.`thumbwheel.stage` = 'describe'")
    assert {file.path for run in runs for file in api.list_artifacts(run.info.run_id)} == set(files)


def test_nothing_waits_for_the_card_and_the_card_for_the_data_alone() -> None:
    stages = load_graph(REPOSITORY / "dvc.yaml")
    assert set(stages["describe"].upstream) == set(card.STAGES)
    assert not any("describe" in stage.upstream for stage in stages.values())
