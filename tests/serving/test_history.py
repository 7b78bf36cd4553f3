"""The conversation history in SQLite."""

from __future__ import annotations

import threading
from pathlib import Path

from serving.history import Reply, SqliteHistory


def reply(number: int = 1, conversation: str = "c-1", text: str = "Hello \x00 🌱\r\n") -> Reply:
    prompt = [{"role": "user", "content": f" Hi {number} "}]
    return Reply(
        message_id=f"m-{number}",
        conversation_id=conversation,
        prompt=prompt,
        system="",
        reply=text,
        finish="stop",
        model="thumbwheel-chat/3",
        arm="control",
        user="u-1",
        replaces=None,
        prompt_tokens=1,
        reply_tokens=2,
        created_at="2026-01-01T00:00:00Z",
    )


def test_a_reply_is_found_again_byte_for_byte_after_the_file_is_reopened(tmp_path: Path) -> None:
    first = SqliteHistory(tmp_path / "deep" / "history.db")
    first.save(reply())
    first.close()
    assert SqliteHistory(tmp_path / "deep" / "history.db").find("m-1") == reply()


def test_what_is_not_there_is_none_and_empty(tmp_path: Path) -> None:
    history = SqliteHistory(tmp_path / "history.db")
    assert history.find("m-1") is None
    assert history.conversation("c-1") == []


def test_a_conversation_holds_its_own_replies_in_order(tmp_path: Path) -> None:
    history = SqliteHistory(tmp_path / "history.db")
    for number, conversation in enumerate(["c-2", "c-1", "c-2"]):
        history.save(reply(number, conversation))
    assert [r.message_id for r in history.conversation("c-2")] == ["m-0", "m-2"]


def test_two_services_may_write_at_once(tmp_path: Path) -> None:
    histories = [SqliteHistory(tmp_path / "history.db") for _ in range(2)]

    def write(index: int) -> None:
        for number in range(50):
            histories[index].save(reply(1000 * index + number))

    threads = [threading.Thread(target=write, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(histories[0].conversation("c-1")) == 100
