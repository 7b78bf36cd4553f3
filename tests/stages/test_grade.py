"""Bad rows are rejected with their reason, good ones are kept, and every row is accounted for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import grade, judge
from stages.grade import GradeParams
from stages.quality.heuristics import faults
from tests.fakes import fake_judge, tiny_model
from thumbwheel.lake import Pin, read_pin, read_pinned, write_pin, write_table
from thumbwheel.params import load_params
from thumbwheel.records import CONVERSATION, PREFERENCE, conversation_id, preference_id, to_table
from thumbwheel.settings import REPOSITORY, settings

PARAMS = load_params("grade", GradeParams, REPOSITORY / "params.yaml")
LIMITS = PARAMS.heuristics

BAD = [
    ("", "too_short"),
    ("ok", "too_short"),
    ("Hold the Duo with one hand, turn the collar to the left and make sure that the", "truncated"),
    ("Open it first. Then wait a bit. After that press the button on the right hand side of", "truncated"),
    ("Open it. Then wait a bit. After that press the round button on the right side", "truncated"),
    ("First, close the tap, then,", "truncated"),
    ("We are sorry. We are sorry. We are sorry. We are sorry. We are sorry. We are sorry.", "repetition"),
    ("Please check the the the the the the the the the the the the valve.", "repetition"),
    ("##### //// ====== <<<>>> ||||| ~~~~~ ***** ]]]] {{{{ %%%%%.", "symbols"),
    ("BUY NOW!!! BEST PLAN EVER!!! DO NOT WAIT!!! CLICK AND SAVE BIG MONEY TODAY!!!", "shouting"),
    ("asdkjh qwoeiru zxmcnb lkjasd skdjfh gzmxnc bvqpwo alskdj fhgqpw zmxncb dhfgqp sdfghj.", "gibberish"),
    ("This is a page of lorem ipsum.", "lorem_ipsum"),
    ((passage := " ".join(f"word{i}" for i in range(40))) + " and so on: " + passage + ".", "duplicated_5_n_grams"),
]
GOOD = [
    "Paris",
    "42",
    "Yes.",
    "La réponse est oui, sans aucun doute possible.",
    "東京は日本の首都です。",
    "Die Schlechtwetterfront zieht durch; Angst braucht man nicht zu haben.",
    "You need:\n- a hub\n- a valve\n- two batteries",
    "1. Open the app\n2. Tap Add device\n3. Wait for the light",
    "```python\nfor i in range(3):\n    print(i)\n```",
    "See https://status.brindlewick.example",
    'He wrote: "Thank you for the parcel."',
    "NASA, ESA and JAXA.",
    "Ha ha ha, that is a good one.",
    "| a | b |\n|---|---|\n| one two | three four |",
    "To water by the week:\n- Monday: tomatoes, 5 minutes\n- Tuesday: herbs, 3 minutes\n- Friday: the lawn, 10 minutes",
    "def area(r):\n    return 3 * r**2\n\n\ndef volume(r, h):\n    return r * h\n\n\nprint(volume(2, {'h': 3}['h']))",
    "SELECT COUNT(*) FROM orders\nWHERE sent >= DATE_SUB(CURDATE(), INTERVAL 30 DAY) AND state = 'open';",
    "我可以执行一些基本的 PHP 语言代码，但并不是所有的 PHP 代码都可以被我执行。如果您有任何问题，我会尽力为您解答。",
]


@pytest.mark.parametrize(("answer", "reason"), BAD)
def test_a_bad_answer_is_rejected_for_its_reason(answer: str, reason: str) -> None:
    (fault,) = faults([answer], LIMITS)
    assert fault is not None
    assert fault.reason == reason


@pytest.mark.parametrize("answer", GOOD)
def test_a_good_answer_is_kept(answer: str) -> None:
    brief = LIMITS.answer.model_copy(update={"min_characters": 2})
    assert faults([answer], LIMITS.model_copy(update={"answer": brief})) == [None]


def reasons(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row_id: fault.reason for row_id, fault in grade.conversation_faults(rows, LIMITS).items()}


def test_a_bad_answer_early_in_a_conversation_rejects_it() -> None:
    good = {"role": "assistant", "content": "It is blue."}
    bad = {"role": "assistant", "content": "Turn it to the left and make sure that the"}
    question = {"role": "user", "content": "and"}
    rows = [{"id": "x", "messages": [question, bad, question, good]}, {"id": "y", "messages": [question, good]}]
    assert reasons(rows) == {"x": "truncated"}


def test_what_a_user_wrote_is_never_graded() -> None:
    shout = {"role": "user", "content": "WHY DOES NOTHING WORK HERE I WANT MY MONEY BACK NOW AND FAST"}
    rows = [{"id": "x", "messages": [shout, {"role": "assistant", "content": "I am sorry to hear that."}]}]
    assert reasons(rows) == {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"rejected": " it IS blue. "}, "same_answers"),
        ({"rejected": " "}, "empty"),
        ({"chosen": ""}, "empty"),
        ({"prompt": []}, "no_question"),
        ({"prompt": [{"role": "assistant", "content": "Hi."}]}, "no_question"),
        ({"chosen": "Turn it to the left and make sure that the"}, "truncated"),
        ({"rejected": "Turn it to the left and make sure that the"}, None),
    ],
)
def test_a_pair_is_rejected_for_its_reason(change: dict[str, Any], reason: str | None) -> None:
    pair = {"id": "p", "prompt": [{"role": "user", "content": "?"}], "chosen": "It is blue.", "rejected": "Green."}
    assert grade.preference_faults([pair | change], LIMITS).get("p") == reason


def chat(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def scrubbed(chats: list[list[dict[str, str]]], rejected_answers: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Write the tables and the pin of `scrub`; return the ids of conversations and of pairs."""
    rows = [{"id": conversation_id(one), "messages": one, "source": "test"} for one in chats]
    prompt, chosen = [{"role": "user", "content": "?"}], "Yes, of course."
    pairs = [
        {"id": preference_id(prompt, chosen, other), "prompt": prompt, "chosen": chosen, "rejected": other}
        for other in rejected_answers
    ]
    tables = {
        "conversations": write_table("scrub_conversations", to_table(rows, CONVERSATION)),
        "preferences": write_table("scrub_preferences", to_table(pairs, PREFERENCE)),
    }
    write_pin(Pin(stage="scrub", tables=tables))
    return [row["id"] for row in rows], [str(pair["id"]) for pair in pairs]


def test_every_row_is_kept_or_rejected_with_a_reason_that_is_counted(workspace: Path) -> None:
    tiny_model(workspace / "models" / "base")
    (workspace / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    chats = [chat(f"Question {i}?", answer) for i, answer in enumerate([*GOOD[4:8], *(bad for bad, _ in BAD)])]
    ids, pairs = scrubbed(chats, ("No.", "yes, of course."))
    grade.main()
    first = (workspace / "data" / "pins" / "grade.json").read_bytes()
    rejected = {row["id"]: row["reason"] for row in read_pinned("grade", "rejected").to_pylist()}
    kept = set(read_pinned("grade", "conversations")["id"].to_pylist())
    wanted = dict(zip(ids[4:], (reason for _, reason in BAD), strict=True)) | {pairs[1]: "same_answers"}
    assert {i: r for i, r in rejected.items() if r not in ("unlikely", "unhelped")} == wanted
    assert kept.isdisjoint(rejected)
    assert kept | set(rejected) == {*ids, pairs[1]}
    assert sum(read_pin("grade").rejections.values()) == len(rejected)
    assert all(math.isfinite(row["likelihood"]) for row in read_pinned("grade", "scores").to_pylist())
    page = (workspace / "data" / "reports" / "grade.html").read_text()
    assert all(i[:12] in page for i in ids[:4])
    assert all(f">{reason}</span>" in page for _, reason in BAD)
    (workspace / ".thumbwheel" / "scores.db").unlink()
    grade.main()
    assert (workspace / "data" / "pins" / "grade.json").read_bytes() == first
    assert (workspace / "data" / "reports" / "grade.html").read_text() == page


def test_a_judge_rejects_only_what_it_graded_low(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["grade"]["scores"]["max_scored"] = 0
    params["grade"]["judge"] |= {"max_judged": 10, "worst_share": 0.4, "retries": 0}
    (workspace / "params.yaml").write_text(yaml.safe_dump(params))
    ids, _ = scrubbed([chat("Which?", f"{word} is the answer.") for word in ("Good", "Bad", "Unclear")], ())
    grades = {"Good": {"9": 1.0}, "Bad": {"2": 1.0}, "Unclear": {"hm": 1.0}}
    with fake_judge(lambda text: next(shares for word, shares in grades.items() if f"{word} is" in text)) as endpoint:
        monkeypatch.setenv("THUMBWHEEL_JUDGE_URL", endpoint.url)
        monkeypatch.setenv("THUMBWHEEL_JUDGE_MODEL", "known")
        settings.cache_clear()
        grade.main()
    assert read_pin("grade").rejections == {"low_grade": 1}
    assert read_pinned("grade", "rejected")["id"].to_pylist() == [ids[1]]
    said = {row["id"]: (row["grade"], row["error"] is None) for row in read_pinned("grade", "grades").to_pylist()}
    assert said == {ids[0]: (9.0, True), ids[1]: (2.0, True), ids[2]: (None, False)}
    assert read_pin("grade").facts["grade_errors"] == 1


def test_the_judge_is_not_asked_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "endpoint", None)
    assert PARAMS.judge.max_judged == 0
    assert grade.judge_rows([], PARAMS.judge).values == {}
