"""The poll: blind, drawn at random, safe to open, and what it saves is what the judge stage reads."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.people import read_people
from stages.poll import cards, render

BUNDLES = {"candidate": "c" * 64, "champion": "d" * 64}
KEYS = [("mt_bench", f"q{number:02}") for number in range(40)]
QUESTIONS = {key: {"turns": [f"What is {key[1]}?", "And why?"]} for key in KEYS}
SIDES = {
    key: {side: {"replies": [f"{side} says {key[1]}", "</script><b>"]} for side in ("candidate", "champion")}
    for key in KEYS
}


def drawn(count: int, seed: int = 3) -> list[dict[str, Any]]:
    return cards(QUESTIONS, SIDES, count, np.random.default_rng(seed))


def test_questions_and_sides_are_drawn_at_random_and_fixed_by_the_seed() -> None:
    shown = drawn(20)
    assert shown == drawn(20) != drawn(20, seed=4)
    assert len({card["question"] for card in shown}) == 20
    assert {card["candidate_first"] for card in shown} == {True, False}
    assert [card["question"] for card in shown] != sorted(card["question"] for card in shown)


def test_each_side_stands_where_the_card_says() -> None:
    for card in drawn(40):
        first = "candidate" if card["candidate_first"] else "champion"
        assert card["first"][0] == f"{first} says {card['question']}"
        assert card["second"][0] != card["first"][0]


def test_more_than_there_is_shows_all_there_is() -> None:
    assert len(drawn(500)) == len(KEYS)


def test_answers_cannot_break_out_of_the_page() -> None:
    page = render(drawn(3), BUNDLES)
    assert page.count("</script>") == 2
    assert "<b>" not in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))
    assert data["cards"] == drawn(3)


@pytest.mark.slow
def test_what_a_person_chooses_in_a_browser_is_read_as_that_persons_verdict(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    shown = drawn(4)
    (tmp_path / "poll.html").write_text(render(shown, BUNDLES))
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=90_000)
        page = browser.new_page(accept_downloads=True)
        page.set_default_timeout(90_000)
        page.goto((tmp_path / "poll.html").as_uri())
        page.fill("#rater", "ana")
        page.click("#A")
        page.click("#B")
        page.keyboard.press("t")
        with page.expect_download() as download:
            page.click("#save")
        download.value.save_as(tmp_path / "verdicts.jsonl")
        browser.close()
    rows, rejected = read_people((tmp_path / "verdicts.jsonl").read_text(), "verdicts.jsonl", set(KEYS), BUNDLES)
    expected = [
        "candidate" if shown[0]["candidate_first"] else "champion",
        "champion" if shown[1]["candidate_first"] else "candidate",
        "tie",
    ]
    assert {row["question"]: row["winner"] for row in rows} == {
        card["question"]: winner for card, winner in zip(shown, expected, strict=False)
    }
    assert (rejected, {row["judge"] for row in rows}) == ({}, {"ana"})
