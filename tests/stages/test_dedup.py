"""What is a duplicate, which one of a cluster stays, and that the order of the input changes neither."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.dedup import deduplicate, main
from stages.duplicates.dedup_history import History
from stages.duplicates.dedup_params import DedupParams
from stages.duplicates.documents import conversation_documents, preference_documents
from stages.duplicates.words import shingles
from thumbwheel.lake import Pin, read_pin, read_pinned, write_pin, write_table
from thumbwheel.records import CONVERSATION, PREFERENCE, conversation_id, preference_id, to_table

PARAMS = DedupParams(
    words=5,
    threshold=0.8,
    permutations=128,
    bands=25,
    rows=5,
    seed=1,
    semantic=None,
    keep=("intact", "complete", "turns", "oldest", "longest"),
    index="process",
)
WORDS = [f"word{i}" for i in range(60)]
TEXT = " ".join(WORDS)

Rows = list[dict[str, Any]]


def chat(user: str, answer: str, created_at: str | None = None, source: str = "s") -> dict[str, Any]:
    messages = [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
    return {
        "id": conversation_id(messages),
        "messages": messages,
        "source": source,
        "created_at": created_at,
        "meta": None,
    }


def pair(prompt: str, chosen: str, rejected: str) -> dict[str, Any]:
    asked = [{"role": "user", "content": prompt}]
    return {
        "id": preference_id(asked, chosen, rejected),
        "prompt": asked,
        "chosen": chosen,
        "rejected": rejected,
        "source": "s",
        "created_at": None,
    }


def history(params: DedupParams = PARAMS) -> History:
    return History(params.sketch, params.threshold)


def dedup(*rows: dict[str, Any], params: DedupParams = PARAMS) -> tuple[Rows, Rows]:
    table = to_table(rows, CONVERSATION)
    kept, dropped = deduplicate(table, conversation_documents, params, history(params))
    return kept.to_pylist(), dropped.to_pylist()


def dedup_pairs(*rows: dict[str, Any]) -> Rows:
    return deduplicate(to_table(rows, PREFERENCE), preference_documents, PARAMS, history())[0].to_pylist()


def ids(rows: Rows) -> set[str]:
    return {row["id"] for row in rows}


@pytest.mark.parametrize(
    "variant", [TEXT.upper(), TEXT.replace(" ", "\n  "), TEXT + "!?", TEXT.replace("word9 ", "word9, "), TEXT]
)
def test_case_white_space_and_punctuation_make_no_difference(variant: str) -> None:
    kept, dropped = dedup(chat("Q?", TEXT), chat("q", variant))
    assert len(kept) == 1
    assert [(d["reason"], d["similarity"]) for d in dropped] == [("exact", 1.0)]


def test_one_changed_word_is_a_near_duplicate_with_its_true_similarity() -> None:
    changed = TEXT.replace("word30 ", "other ")
    kept, (drop,) = dedup(chat("Q?", TEXT), chat("Q?", changed))
    assert len(kept) == 1
    assert (drop["reason"], drop["keeper"], drop["cluster"]) == ("near", kept[0]["id"], kept[0]["id"])
    assert drop["similarity"] == pytest.approx(52 / 62, abs=1e-6)  # 57 n-grams each, 5 of them changed


def test_different_conversations_stay() -> None:
    kept, dropped = dedup(chat("Q?", TEXT), chat("Q?", " ".join(reversed(WORDS))))
    assert (len(kept), dropped) == (2, [])


def test_short_conversations_with_other_numbers_are_not_duplicates() -> None:
    assert len(dedup(chat("what is 2+3", "5"), chat("what is 2+4", "6"))[0]) == 2


def test_text_without_words_is_told_apart() -> None:
    assert len(dedup(chat("?", ":)"), chat("?", ":("))[0]) == 2


def test_text_without_spaces_counts_by_the_character() -> None:
    text = "水やりの時間を変更するにはアプリを開いて予定を選び時刻を押してください"
    assert len(shingles([("a", text)], 5)) == len(text) - 4
    assert len(dedup(chat("質問", text), chat("質問", text[:-1]))[0]) == 1


def test_the_same_words_said_by_another_role_are_no_duplicate() -> None:
    assert len(dedup(chat("Q?", TEXT), chat(TEXT, "Q?"))[0]) == 2


def test_a_pair_with_its_replies_swapped_is_no_duplicate() -> None:
    other = " ".join(reversed(WORDS))
    assert len(dedup_pairs(pair("Q?", TEXT, other), pair("Q?", other, TEXT))) == 2


def test_a_pair_with_a_tidied_reply_is_a_duplicate() -> None:
    assert len(dedup_pairs(pair("Q?", TEXT, "no"), pair("Q?", TEXT + "!", "no"))) == 1


def test_every_pair_over_the_threshold_is_found_among_many() -> None:
    rng = random.Random(5)
    vocabulary = [f"w{i}" for i in range(2000)]
    base = [chat("q", " ".join(rng.choices(vocabulary, k=80)), "2026-01-01") for _ in range(150)]
    edited = [
        chat("q", " ".join([*row["messages"][1]["content"].split()[:-2], "changed"]), "2026-02-02") for row in base[:50]
    ]
    kept, dropped = dedup(*base, *edited)
    assert ids(kept) == ids(base)
    assert {(d["id"], d["keeper"]) for d in dropped} == {(edited[i]["id"], base[i]["id"]) for i in range(50)}


def test_a_chain_of_duplicates_is_one_cluster_and_says_how_far_its_ends_are_apart() -> None:
    steps = [TEXT, TEXT.replace("word10 ", "x "), TEXT.replace("word10 ", "x ").replace("word40 ", "y ")]
    rows = [chat("Q?", text, f"2026-01-0{i + 1}") for i, text in enumerate(steps)]
    kept, dropped = dedup(*rows)
    assert ids(kept) == {rows[0]["id"]}
    far = next(d for d in dropped if d["id"] == rows[2]["id"])
    assert (far["keeper"], far["similarity"]) == (rows[0]["id"], pytest.approx(47 / 67, abs=1e-6))


def test_no_rows_are_no_rows() -> None:
    assert dedup() == ([], [])


SENTENCES = st.lists(st.sampled_from([*"abcde", "A", "b!", "é", "ไทย"]), min_size=1, max_size=12).map(" ".join)
CHATS = st.lists(
    st.builds(chat, SENTENCES, SENTENCES, st.sampled_from([None, "2026-01-01", "2026-01-02"])), max_size=10
)


@settings(max_examples=60)
@given(CHATS, st.randoms(use_true_random=False))
def test_what_is_kept_does_not_depend_on_the_order(rows: Rows, rng: random.Random) -> None:
    assert dedup(*rows) == dedup(*rng.sample(rows, len(rows)))


@settings(max_examples=60)
@given(CHATS)
def test_nothing_is_lost_and_no_duplicate_stays(rows: Rows) -> None:
    kept, dropped = dedup(*rows)
    assert len(kept) + len(dropped) == len(rows)
    assert {d["keeper"] for d in dropped} <= ids(kept)
    assert dedup(*kept) == (kept, [])


@settings(max_examples=60)
@given(CHATS, CHATS, CHATS)
def test_what_history_has_seen_changes_no_verdict(one: Rows, two: Rows, gone: Rows) -> None:
    seen = history()
    for rows in (one + gone, one, one + two):
        table = to_table(rows, CONVERSATION)
        kept, dropped = deduplicate(table, conversation_documents, PARAMS, seen)
        assert (kept.to_pylist(), dropped.to_pylist()) == dedup(*rows)


def test_the_stage_writes_what_stays_and_what_went(workspace: Path) -> None:
    pin_of_ingest(workspace, [chat("Q?", TEXT), chat("q", TEXT), chat("other", "thing")])
    main()
    assert read_pin("dedup").rejections == {"exact_duplicate": 1}
    assert read_pinned("dedup", "conversations").num_rows == 2
    assert read_pinned("dedup", "preferences").num_rows == 1
    (dropped,) = read_pinned("dedup", "dropped").to_pylist()
    assert (dropped["table"], dropped["reason"]) == ("conversations", "exact")


def test_the_pin_is_the_same_with_and_without_the_kept_history(workspace: Path) -> None:
    rows = [chat("Q?", TEXT, "2026-01-01"), chat("q", TEXT + " more", "2026-01-02"), chat("other", "thing")]
    pin_of_ingest(workspace, rows[:2])
    main()
    pin_of_ingest(workspace, rows)
    main()
    with_history = (workspace / "data/pins/dedup.json").read_bytes()
    for path in sorted((workspace / ".thumbwheel/dedup").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    main()
    assert (workspace / "data/pins/dedup.json").read_bytes() == with_history


def pin_of_ingest(workspace: Path, rows: Rows) -> None:
    """Hand `rows`, and one pair, to the stage."""
    tables = {
        "conversations": write_table("c", to_table(rows, CONVERSATION)),
        "preferences": write_table("p", to_table([pair("Q?", "yes", "no")], PREFERENCE)),
    }
    write_pin(Pin(stage="ingest", tables=tables))
    (workspace / "params.yaml").write_text(yaml.safe_dump({"dedup": PARAMS.model_dump(mode="json")}))


def test_a_table_of_many_small_chunks_gives_the_same(workspace: Path) -> None:
    rows = [chat("Q?", TEXT), chat("q", TEXT + "!"), chat("other", "thing")]
    chunked = pa.concat_tables([to_table([row], CONVERSATION) for row in rows])
    kept, dropped = deduplicate(chunked, conversation_documents, PARAMS, history())
    assert (kept.to_pylist(), dropped.to_pylist()) == dedup(*rows)
