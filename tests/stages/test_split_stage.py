"""The stage `split` from its inputs to its pin: sides, topics, leaks, and what was dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import split
from stages.split import main
from tests.stages.splitting import LONG, PARAMS, chat, pair
from tests.stages.vectors import fake_embed
from thumbwheel.errors import TrainingError
from thumbwheel.lake import Pin, read_pin, read_pinned, write_pin, write_table
from thumbwheel.records import CONVERSATION, PREFERENCE, QUESTION, THUMB, to_table


def prepare(
    root: Path, chats: list[dict[str, Any]], pairs: list[dict[str, Any]], thumbs: tuple[dict[str, Any], ...] = ()
) -> None:
    graded = {
        "conversations": write_table("c", to_table(chats, CONVERSATION)),
        "preferences": write_table("p", to_table(pairs, PREFERENCE)),
    }
    write_pin(Pin(stage="grade", tables=graded))
    write_pin(Pin(stage="scrub", tables={"unpaired": write_table("u", to_table(thumbs, THUMB))}))
    asked = {"set": "mt_bench", "id": "q1", "turns": [LONG], "kind": "mt_bench"}
    questions = to_table([asked, {**asked, "id": "q2", "turns": ["Never asked."]}], QUESTION)
    write_pin(Pin(stage="pose", tables={"questions": write_table("q", questions)}))
    (root / "params.yaml").write_text(yaml.safe_dump({"split": {**PARAMS.model_dump(), "always_train": ["edit"]}}))


def thumb(name: str, question: str) -> dict[str, Any]:
    asked = [{"role": "user", "content": question}]
    return {"id": name, "prompt": asked, "reply": "So it is.", "liked": True, "user": name}


def test_thumbs_are_learnt_from_unless_they_hold_a_question_that_is_asked_later(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(split, "embed", fake_embed)
    chats = [chat(f"c{i}", f"number{chr(97 + i)} watering?", f"answer {i}") for i in range(6)]
    prepare(workspace, chats, [pair("p", "pair?")], (thumb("t1", "thumb?"), thumb("t2", LONG), thumb("t3", "else?")))
    main()
    rows = read_pinned("split", "unpaired").to_pylist()
    assert [(row["id"], row["split"], row["liked"]) for row in rows] == [("t1", "train", True), ("t3", "train", True)]
    assert len(read_pinned("split", "conversations")) == 6
    (gone,) = read_pinned("split", "dropped").to_pylist()
    assert (gone["id"], gone["table"], gone["reason"]) == ("t2", "unpaired", "leaked:mt_bench")
    assert read_pin("split").facts["sizes"]["unpaired"] == {"train": 2}


def test_the_stage_writes_sides_topics_leaks_and_what_was_dropped(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(split, "embed", fake_embed)
    chats = [chat(f"c{i:02}", f"number{chr(97 + i)} watering?", f"answer {i}") for i in range(20)]
    prepare(workspace, [*chats, chat("leak", LONG, "Wait.")], [pair(f"p{i}", f"pair{chr(97 + i)}?") for i in range(20)])
    main()
    rows = read_pinned("split", "conversations").to_pylist()
    assert [row["id"] for row in rows] == [row["id"] for row in chats]
    assert {row["split"] for row in rows} <= {"train", "validation", "test"}
    named = {row["cluster"]: row["topic_terms"].split(", ") for row in rows}
    assert all(named.values())
    assert len({word for words in named.values() for word in words}) == sum(map(len, named.values()))
    assert {row["split"] for row in read_pinned("split", "preferences").to_pylist()} <= {"train", "validation"}
    assert [(d["id"], d["reason"], d["other"]) for d in read_pinned("split", "dropped").to_pylist()] == [
        ("leak", "leaked:mt_bench", "q1")
    ]
    pin = read_pin("split")
    assert pin.rejections == {"leaked:mt_bench": 1}
    assert pin.facts["leaks"] == {"mt_bench": {"questions": 2, "leaked": 1, "in_words": 1, "in_meaning": 1, "rows": 1}}
    (leak,) = read_pinned("split", "leaks").to_pylist()
    assert leak == {
        "id": "leak",
        "table": "conversations",
        "set": "mt_bench",
        "question": "q1",
        "part": "turn 1",
        "how": "words",
        "similarity": 1.0,
        "ways": "words, meaning",
    }
    topics = read_pinned("split", "topics").to_pylist()
    assert sum(topic["rows"] for topic in topics) == sum(topic["train"] for topic in topics) + sum(
        topic["validation"] + topic["test"] for topic in topics
    )
    assert sum(topic["rows"] for topic in topics) == len(rows) == read_pinned("split", "map").num_rows


def test_strange_texts_pass_the_stage(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "embed", fake_embed)
    strange = [
        "\x00",
        "",
        " ",
        "🙂",
        "👩‍👩‍👧",
        "مرحبا كيف حالك",
        "שלום",
        "\u202eabc",
        "x" * 1_000_000,
        "." * 1000,
        "a\u0301",
    ]
    prepare(workspace, [chat(f"c{i:02}", text, text) for i, text in enumerate(strange)], [pair("p", "\x00")])
    main()
    kept = read_pinned("split", "conversations")["id"].to_pylist()
    gone = read_pinned("split", "dropped")["id"].to_pylist()
    assert sorted({*kept, *gone} - {"p"}) == [f"c{i:02}" for i in range(len(strange))]


def test_without_a_pair_and_with_one_conversation_the_stage_runs(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(split, "embed", fake_embed)
    prepare(workspace, [chat("c", "Alone?", "Yes.")], [])
    main()
    assert read_pinned("split", "conversations").num_rows == 1


def test_with_nothing_left_to_split_the_stage_says_where_it_went(workspace: Path) -> None:
    prepare(workspace, [], [pair("p", "x")])
    with pytest.raises(TrainingError, match=r"ingest.json and grade.json"):
        main()
