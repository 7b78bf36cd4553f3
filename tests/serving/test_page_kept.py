"""What the page keeps of a conversation, and what of its user: over reloads, in two tabs, until they erase it."""

from __future__ import annotations

from typing import Any

from tests.serving.conftest import Chat
from tests.serving.test_page import browser, page, pytestmark, reply, say
from tests.waiting import eventually

__all__ = ["browser", "page", "pytestmark"]
KEPT = "sessionStorage.getItem('thumbwheel.conversation')"


def remembered(page: Any) -> Any:
    page.get_by_role("button", name="What is remembered", exact=True).click()
    return page.get_by_role("dialog", name="What is remembered of you")


def test_a_user_sees_what_they_said_of_themselves_and_erases_a_part_or_all_of_it(page: Any, chat: Chat) -> None:
    said = remembered(page)
    said.get_by_text("You have told this assistant nothing").wait_for()
    said.get_by_role("button", name="Close").click()
    say(page, "My name is Ana. From now on, be <b>brief</b>.")
    reply(page, "Echo 1")

    said = remembered(page)
    said.locator("dd", has_text="Ana").wait_for()
    assert said.locator("dd").all_inner_texts() == ["Ana", "be ‹b›brief‹/b›"]
    said.get_by_role("button", name="Forget this").click()
    said.get_by_text("This is forgotten.").wait_for()
    assert said.locator("dd").count() == 0

    conversation = page.evaluate(KEPT)
    said.get_by_role("button", name="Erase everything").click()
    said.get_by_role("button", name="Really erase everything?").click()
    page.locator(".mine").wait_for(state="detached")
    assert chat.http.get(f"/v1/conversations/{conversation}").status_code == 404
    assert page.evaluate(KEPT) is None


def test_a_conversation_that_was_erased_in_another_tab_goes_on_as_one_of_its_own(page: Any, chat: Chat) -> None:
    say(page, "One")
    reply(page, "Echo 1: One")
    erased = page.evaluate(KEPT)
    page.evaluate("fetch('/v1/me', {method: 'DELETE'})")
    assert eventually(lambda: chat.http.get(f"/v1/conversations/{erased}").status_code == 404)

    say(page, "Two")
    page.get_by_text("This conversation was erased.").wait_for()
    page.get_by_role("button", name="Try again").click()
    reply(page, "Echo 2: Two")
    assert [m["content"] for m in chat.engine.payloads[-1]["messages"]][-3:] == ["One", "Echo 1: One", "Two"]
    assert page.evaluate(KEPT) not in (None, erased)
    assert page.locator(".reply").first.locator(".actions").is_hidden()


def test_of_a_long_conversation_the_newest_part_is_sent_and_it_never_ends_in_a_refusal(page: Any, chat: Chat) -> None:
    kept = chat.ask("Turn 0").json()["conversation_id"]
    for turn in range(1, 110):
        chat.ask(f"Turn {turn}", conversation_id=kept)
    page.evaluate(f"sessionStorage.setItem('thumbwheel.conversation', '{kept}')")
    page.reload()
    reply(page, "Echo 110: Turn 109")
    sent: list[Any] = []
    page.on("request", lambda request: sent.append(request.post_data_json) if request.method == "POST" else None)

    say(page, "And now?")
    reply(page, "Echo 111: And now?")
    (body,) = sent
    assert len(body["messages"]) == 100
    assert [m["content"] for m in body["messages"][-2:]] == ["Echo 110: Turn 109", "And now?"]


def test_a_conversation_that_is_left_before_it_is_there_again_stays_left(page: Any) -> None:
    say(page, "One")
    reply(page, "Echo 1: One")
    held: list[Any] = []
    page.route("**/v1/conversations/*", lambda route: held.append(route))
    page.reload()
    assert eventually(lambda: page.evaluate("1") and held)
    page.locator("#new").click()
    with page.expect_response("**/v1/conversations/*") as answered:
        held[0].continue_()
    assert answered.value.ok
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 300))")  # time in which it would be shown
    assert page.locator(".mine").count() == 0


def test_a_question_that_was_not_answered_yet_outlives_a_reload(page: Any, chat: Chat) -> None:
    chat.engine.is_held = True
    say(page, "Will it last?")
    assert eventually(lambda: chat.engine.payloads)
    page.reload()
    page.get_by_text("What can I help you with?").wait_for()
    assert eventually(lambda: page.get_by_label("Message", exact=True).input_value() == "Will it last?")

    chat.engine.is_held = False
    page.get_by_label("Send message").click()
    reply(page, "Will it last?")
    page.reload()
    reply(page, "Will it last?")
    assert page.get_by_label("Message", exact=True).input_value() == ""


def test_a_question_outlives_a_reload_at_which_its_conversation_cannot_be_had(page: Any, chat: Chat) -> None:
    say(page, "One")
    reply(page, "Echo 1: One")
    chat.engine.is_held = True
    say(page, "Two")
    assert eventually(lambda: len(chat.engine.payloads) == 2)
    page.route("**/v1/conversations/*", lambda route: route.abort())
    page.reload()
    page.get_by_text("can't be reached").wait_for()
    assert page.get_by_label("Message", exact=True).input_value() == "Two"
    chat.engine.is_held = False


def test_what_was_said_before_a_reload_in_the_middle_of_an_answer_stays(page: Any, chat: Chat) -> None:
    chat.engine.delay, chat.engine.text = 0.05, "It begins here. " + "And it goes on and on, " * 100
    say(page, "Tell me a lot")
    page.get_by_text("It begins here.").wait_for()
    conversation = page.evaluate(KEPT)
    page.goto("about:blank")
    assert eventually(lambda: chat.http.get(f"/v1/conversations/{conversation}").status_code == 200)
    page.goto(chat.url)
    page.locator(".reply", has_text="It begins here.").wait_for()
    assert page.locator(".mine").inner_text() == "Tell me a lot"


def test_a_thumb_is_still_shown_after_a_reload_and_gone_with_its_conversation(page: Any, chat: Chat) -> None:
    for text, name in (("One", "Good answer"), ("Two", "Bad answer"), ("Three", None)):
        say(page, text)
        found = reply(page, f": {text}")
        if name:
            found.get_by_role("button", name=name).click()
            found.get_by_text("Thank you!").wait_for()
    page.reload()
    reply(page, ": Three")

    pressed = page.locator(".reply [aria-pressed=true]").evaluate_all("all => all.map((one) => one.className)")
    assert pressed == ["up", "down"]
    assert [event["rating"] for event in chat.events()] == ["up", "down"]
    page.locator("#new").click()
    assert page.evaluate("sessionStorage.getItem('thumbwheel.thumbs')") is None


def test_what_is_still_being_sent_of_an_answer_never_sticks_to_the_one_that_replaces_it(page: Any, chat: Chat) -> None:
    held: list[Any] = []
    page.route("**/v1/feedback", lambda route: held.append(route))
    say(page, "One")
    first = reply(page, "Echo 1: One")
    first.get_by_label("Bad answer").click()
    first.get_by_label("Write a better answer").click()
    first.locator(".editor textarea").fill("A better one")
    first.locator(".editor").get_by_role("button", name="Send").click()
    first.get_by_label("Good answer").click()
    assert eventually(lambda: page.evaluate("true") and len(held) == 3)
    first.get_by_label("Answer again").click()
    second = reply(page, "Echo 2: One")

    for request in held[:2]:
        with page.expect_response("**/v1/feedback"):
            request.continue_()
    held[2].abort()
    second.get_by_text("Of the earlier answer, not sent").wait_for()
    assert second.locator("[aria-pressed=true], .reasons:visible, .yours:visible").count() == 0
    assert [(event["rating"], event["correction"]) for event in chat.events()] == [
        ("down", None),
        (None, "A better one"),
    ]
    assert page.evaluate("sessionStorage.getItem('thumbwheel.thumbs')") is None


def test_the_keyboard_stays_where_it_can_go_on(page: Any, chat: Chat) -> None:
    chat.engine.is_held = True
    page.get_by_label("Message", exact=True).fill("One")
    page.get_by_label("Send message").focus()
    page.keyboard.press("Enter")
    page.locator("#stop:focus").wait_for()
    page.keyboard.press("Enter")
    page.locator("#message:focus").wait_for()
    chat.engine.is_held = False
