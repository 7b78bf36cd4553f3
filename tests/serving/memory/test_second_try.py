"""What a conversation says after an answer was made again: one of its turns has one answer, the last one."""

from __future__ import annotations

from tests.serving.conftest import Chat
from tests.serving.memory.test_memory import CHAT, conversation, sent


def test_a_second_try_takes_the_place_of_the_first_in_what_follows(chat: Chat) -> None:
    first = chat.ask("One").json()
    chat.http.post(CHAT, json={"regenerate": first["message_id"]})
    chat.ask("Two", conversation_id=first["conversation_id"])
    assert sent(chat) == ["One", "Echo 2: One", "Two"]


def test_two_second_tries_at_one_answer_leave_one_turn(chat: Chat) -> None:
    first = chat.ask("One").json()
    for _ in range(2):
        chat.http.post(CHAT, json={"regenerate": first["message_id"]})
    shown = ["One", "Echo 3: One"]
    assert [message["content"] for message in conversation(chat, first)["messages"]] == shown
    chat.ask("Two", conversation_id=first["conversation_id"])
    assert sent(chat) == [*shown, "Two"]


def test_a_second_try_at_an_older_answer_goes_on_from_there(chat: Chat) -> None:
    first = chat.ask("One").json()
    chat.ask("Two", conversation_id=first["conversation_id"])
    chat.http.post(CHAT, json={"regenerate": first["message_id"]})
    chat.ask("Three", conversation_id=first["conversation_id"])
    assert sent(chat) == ["One", "Echo 3: One", "Three"]
