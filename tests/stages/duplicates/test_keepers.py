"""The rules by which one row of a cluster stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stages.duplicates.dedup_params import Rule
from stages.duplicates.keepers import order_rows
from tests.stages.test_dedup import chat, pair
from thumbwheel.records import CONVERSATION, PREFERENCE, to_table


def best(rules: list[Rule], *rows: dict[str, Any]) -> int:
    """Return which row stays, wherever it stands."""
    schema = CONVERSATION if "messages" in rows[0] else PREFERENCE
    found = set()
    for turn in range(len(rows)):
        table = to_table([*rows[turn:], *rows[:turn]], schema)
        found.add((int(order_rows(table, np.arange(len(rows)), rules)[0]) + turn) % len(rows))
    (only,) = found
    return only


def turns(count: int) -> dict[str, Any]:
    row = chat("Q?", "An answer.")
    return {**row, "messages": row["messages"] * count, "id": str(9 - count)}


@pytest.mark.parametrize("broken", ["caf\ufffd.", "cafÃ©.", "itâ€™s so.", "so\x85 it is."])
def test_a_broken_encoding_loses(broken: str) -> None:
    assert best(["intact"], chat("Q?", broken), chat("Q?", "It is so.")) == 1


@pytest.mark.parametrize("whole", ["café naïve.", "It’s “so”.", "Über Ärger.", "Ça va?", "Â!"])
def test_an_accent_is_not_a_broken_encoding(whole: str) -> None:
    first, second = chat("Q?", whole), chat("Q?", "plain.")
    assert best(["intact", "longest"], {**first, "id": "a"}, {**second, "id": "b"}) == (len(whole) < len("plain."))


@pytest.mark.parametrize("cut", ["It is so and", "First, ", "These:", "", "Eins zwei", "它是这样"])
def test_an_answer_that_is_cut_off_loses(cut: str) -> None:
    assert best(["complete"], chat("Q?", cut), chat("Q?", "It is so.")) == 1


@pytest.mark.parametrize(
    "whole", ["Yes!", "它是这样。", "ใช่ค่ะ!", "print(1)", "```py\nx = {}\n```", "है।", "“So.”", "🙂"]
)
def test_an_answer_that_ends_in_its_scripts_own_way_is_whole(whole: str) -> None:
    assert best(["complete"], chat("Q?", "It is so and"), chat("Q?", whole)) == 1


def test_a_conversation_without_a_last_answer_is_not_complete() -> None:
    asked = chat("Q?", "An answer.")
    assert best(["complete"], {**asked, "messages": asked["messages"][:1], "id": "0"}, asked) == 1
    assert best(["complete"], {**asked, "messages": [], "id": "0"}, asked) == 1


def test_more_turns_win() -> None:
    assert best(["turns"], turns(1), turns(3), turns(2)) == 1


def test_the_oldest_wins_and_a_row_without_a_date_is_the_youngest() -> None:
    rows = [chat("Q?", "a", None), chat("Q?", "b", "2026-02-01"), chat("Q?", "c", "2026-01-01")]
    assert best(["oldest"], *rows) == 2
    assert best(["oldest"], *rows[:2]) == 1


def test_the_longest_wins_counted_in_characters() -> None:
    assert best(["longest"], chat("Q?", "four"), chat("Q?", "漢字"), chat("Q?", "fives")) == 2


def test_an_earlier_rule_goes_before_a_later_one() -> None:
    old, long = chat("Q?", "a", "2026-01-01"), chat("Q?", "much longer", "2026-02-01")
    assert best(["oldest", "longest"], old, long) == 0
    assert best(["longest", "oldest"], old, long) == 1


def test_what_is_equal_by_all_rules_goes_by_id() -> None:
    rows = [{**chat("Q?", "a"), "id": name} for name in ("b", "a", "c")]
    assert best([], *rows) == 1
    assert best(["intact", "turns", "longest"], *rows) == 1


def test_a_pair_is_judged_by_its_prompt_and_both_replies() -> None:
    assert best(["complete"], pair("Q?", "cut off and", "no."), pair("Q?", "Whole.", "no.")) == 1
    assert best(["intact"], pair("Q?", "a", "bad \ufffd"), pair("Q?", "a", "good")) == 1
    assert best(["longest"], pair("Q?", "a", "b"), pair("A longer question?", "a", "b")) == 1
