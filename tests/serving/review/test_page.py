"""A bad answer through the browser: words marked in the chat, a pair judged blind by keys, events to train on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serving.conftest import Chat
from tests.serving.review.test_desk import Item, compared, disliked
from tests.serving.review.test_routes import bearer, desk, judge
from tests.serving.test_page import browser, reply, say
from thumbwheel.lake import write_json
from thumbwheel.settings import settings

__all__ = ["browser", "desk"]

SELECT = """(words) => {
  const node = document.evaluate(`//*[contains(@class, 'text')]//text()[contains(., '${words}')]`, document, null,
    XPathResult.FIRST_ORDERED_NODE_TYPE, null).singleNodeValue;
  const range = document.createRange(), at = node.data.indexOf(words);
  range.setStart(node, at);
  range.setEnd(node, at + words.length);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
}"""


def opened(browser: Any, address: str, width: int) -> Any:
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.set_default_timeout(90_000)
    page.goto(address)
    return page


@pytest.mark.slow
def test_words_marked_in_the_chat_and_verdicts_given_by_keys_become_events(browser: Any, desk: Chat) -> None:
    _marks_words_in_the_chat(opened(browser, desk.url, 900), desk)
    first = disliked(reply="Two years, you fool. They **last** long.", dislikes=3)
    write_json(settings().queue, {"items": [first, disliked("i-2", other=None), compared()]})
    page = opened(browser, f"{desk.url}/review", 1200)
    key = bearer("reviewer")["Authorization"].removeprefix("Bearer ")
    page.get_by_label("Reviewer's key").fill("tw-wrong-key")
    page.keyboard.press("Enter")
    page.get_by_text("not valid here").wait_for()
    page.get_by_label("Reviewer's key").fill(key)
    page.keyboard.press("Enter")
    _judges_a_pair(page, first, desk)
    _repairs_a_reply(page, desk)
    _works_on_a_narrow_screen(page, desk)


def _marks_words_in_the_chat(page: Any, desk: Chat) -> None:
    desk.engine.text = "- 🌱 It lasts **two years**\n- you fool"
    say(page, "How long do the batteries last?")
    answer = reply(page, "two years")
    page.evaluate(SELECT, "two years")
    answer.get_by_role("button", name="Mark as wrong").click()
    answer.get_by_text("two years marked as wrong").wait_for()
    (event,) = desk.events()
    (span,) = event["spans"]
    assert event["reply"][span["start"] : span["end"]] == "two years"
    assert (span["label"], event["rating"]) == ("wrong", "down")


def _judges_a_pair(page: Any, row: dict[str, Any], desk: Chat) -> None:
    page.get_by_label("Answer B").wait_for()
    reviewer = _reviewer(desk, page)
    swapped = Item(row).swapped(reviewer, b"key")
    shown = page.get_by_label("Answer B" if swapped else "Answer A")
    assert "They last long." in shown.inner_text()
    page.evaluate(SELECT, "fool")
    page.keyboard.press("x")
    shown.get_by_text("fool marked as toxic").wait_for()
    page.keyboard.press("a" if swapped else "b")
    page.get_by_text("Of the last pair a user had disliked").wait_for()
    event = desk.events()[-1]
    assert (event["reason"], event["correction"]) == ("prefers_other", "About nine months.")
    assert [event["reply"][s["start"] : s["end"]] for s in event["spans"]] == ["fool"]


@pytest.mark.slow
def test_a_held_key_judges_one_item_and_one_that_was_judged_elsewhere_makes_room_for_the_next(
    browser: Any, desk: Chat
) -> None:
    write_json(settings().queue, {"items": [disliked(f"i-{n}", reply=f"Reply {n}.") for n in range(50)]})
    page, headers = opened(browser, f"{desk.url}/review", 1200), bearer("reviewer")
    page.get_by_label("Reviewer's key").fill(headers["Authorization"].removeprefix("Bearer "))
    page.keyboard.press("Enter")
    page.get_by_text("Reply 0.").wait_for()
    page.evaluate(
        "() => { for (let n = 0; n < 9; n++) dispatch(n); function dispatch(n) {"
        " document.dispatchEvent(new KeyboardEvent('keydown', {key: 't', repeat: n > 0, bubbles: true})); } }"
    )
    page.get_by_text("Reply 1.").wait_for()
    page.get_by_text("1 judged by you · 49 waiting").wait_for()

    assert judge(desk, headers, item="i-1").status_code == 201
    page.keyboard.press("t")
    page.get_by_text("Reply 2.").wait_for()
    page.get_by_text("You have judged this item already.").wait_for()
    assert "2 judged by you · 48 waiting" in page.locator("#progress").inner_text()
    page.close()


def _reviewer(desk: Chat, page: Any) -> str:
    from thumbwheel.records import user_hash

    key = page.evaluate("sessionStorage.getItem('thumbwheel.reviewer')")
    return user_hash(f"key:{key.split('-')[1]}", b"key")


def _repairs_a_reply(page: Any, desk: Chat) -> None:
    page.get_by_text("A reply that a user disliked").wait_for()
    page.keyboard.press("r")
    page.keyboard.type("Nine months, says the manual.")
    page.keyboard.press("Control+Enter")
    page.get_by_label("Answer B").wait_for()
    assert [event["reason"] for event in desk.events()[-2:]] == ["bad", "repaired"]
    assert desk.events()[-1]["correction"] == "Nine months, says the manual."


def _works_on_a_narrow_screen(page: Any, desk: Chat) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="Equally good").click()
    page.get_by_text("Nothing waits for you").wait_for()
    assert desk.events()[-1]["kind"] == "comparison"
    assert "3 judged by you" in page.locator("#progress").inner_text()
