"""The page shows the best, the worst and the rejected rows, and what stands in them as text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stages.quality.heuristics import Fault
from stages.quality.likelihood import Score
from stages.quality.taste import SHOWN_CHARACTERS, Graded, choose, cut, number, ranks, render
from thumbwheel.lake import Pin

FACTS = {"scored": 30, "graded": 0, "grade_errors": 0}


def known(answers: list[str], rejected: dict[str, str] | None = None) -> Graded:
    """Return rows of which a later one is the better, those of `rejected` unscored."""
    rows = {
        str(i): {
            "id": str(i),
            "source": "<s>",
            "messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": text}],
        }
        for i, text in enumerate(answers)
    }
    out = rejected or {}
    scores = {i: Score(i, -9.0 + int(i) / 10, 1.0 - int(i) / 100, 5) for i in rows if i not in out}
    return Graded(rows, scores, {}, out, {i: Fault(reason, 0.5, 0.3) for i, reason in out.items()})


def test_the_best_come_best_first_and_the_worst_worst_first() -> None:
    best, worst, _ = choose(known([f"answer {i}" for i in range(30)]), 10)
    assert [one.id for one in best] == [str(i) for i in range(29, 19, -1)]
    assert [one.id for one in worst] == [str(i) for i in range(10)]


def test_a_row_is_never_shown_as_both() -> None:
    best, worst, _ = choose(known([f"answer {i}" for i in range(13)]), 10)
    assert len(best) == 10
    assert [one.id for one in worst] == ["0", "1", "2"]


def test_some_rejected_rows_of_every_reason_are_shown() -> None:
    rejected = {str(i): "symbols" if i < 5 else "shouting" for i in range(8)}
    best, worst, examples = choose(known(["x"] * 10, rejected), 10)
    assert [one.reason for one in examples] == ["shouting", "shouting", "symbols", "symbols"]
    assert not {one.id for one in (*best, *worst)} & set(rejected)


def test_nothing_in_a_row_is_markup() -> None:
    page = render(
        known(["<script>alert(1)</script>", "fine"], {"0": "<b>"}),
        Pin(stage="grade", rejections={"<b>": 1}, facts=FACTS),
        10,
    )
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<b>" not in page
    assert "&lt;s&gt;" in page


def test_a_page_without_rows_says_so() -> None:
    page = render(known([]), Pin(stage="grade", facts=FACTS), 10)
    assert "0 of 0 kept" in page
    assert "No row was scored." in page


@given(st.text(max_size=100))
def test_what_is_shown_can_be_written(text: str) -> None:
    shown = cut(text)
    assert "\x00" not in shown
    assert len(shown.encode()) >= len(text)


def test_joiners_are_shown_and_marks_of_direction_are_not() -> None:
    assert cut("می‌خواهم 👩‍🚀\u202e") == "می‌خواهم 👩‍🚀\ufffd"


def test_a_long_text_is_shown_by_its_beginning_and_its_end() -> None:
    shown = cut("a" * 5000 + "b" * 5000)
    assert shown.startswith("aaa")
    assert shown.endswith("bbb")
    assert len(shown) < SHOWN_CHARACTERS + 10


@given(st.dictionaries(st.text(max_size=4), st.integers(-5, 5), min_size=2))
def test_ranks_keep_the_order_and_treat_equals_alike(values: dict[str, float]) -> None:
    found = ranks(values)
    assert all(0 <= rank <= 1 for rank in found.values())
    assert all((values[a] < values[b]) == (found[a] < found[b]) for a in values for b in values)


def test_numbers_are_short() -> None:
    assert [number(value) for value in (None, float("inf"), -1.23456, 12)] == ["–", "∞", "−1.23", "12"]
