"""What the operator may ask the chat service to erase."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving import erasure
from tests.serving.conftest import OPTIONS, Chat
from tests.waiting import eventually
from thumbwheel.records import user_hash

KEY = b"key"
"""Of the users' hashes, in `conftest.parts_of`."""


def asked(users: list[str], key: bytes = KEY) -> tuple[bytes, dict[str, str]]:
    body = json.dumps({"users": users}).encode()
    return body, {"X-Operator-Proof": hmac.new(key, body, hashlib.sha256).hexdigest()}


def test_the_operator_erases_a_user_from_a_running_service(chat: Chat) -> None:
    answer = chat.ask("My name is Ann.", user="ann").json()
    body, proof = asked([user_hash("user:ann", KEY)])
    gone = chat.http.post("/v1/erasures", content=body, headers=proof).json()["erased"]
    assert (gone["history"], gone["sessions"]) == (1, 1)
    assert chat.http.get(f"/v1/conversations/{answer['conversation_id']}").status_code == 404


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("by_operator", [False, True])
def test_an_answer_that_is_under_way_as_its_user_is_erased_is_given_and_not_kept(
    chat: Chat, streamed: bool, by_operator: bool
) -> None:
    user = chat.http.get("/v1/profile").json()["user"]
    chat.engine.is_held = True
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(chat.ask, "My name is Ann.", stream=streamed)
        assert eventually(lambda: chat.engine.payloads)
        if by_operator:
            body, proof = asked([user])
            assert chat.http.post("/v1/erasures", content=body, headers=proof).status_code == 200
        else:
            assert chat.http.delete("/v1/me").status_code == 200
        chat.engine.is_held = False
        answer = asking.result()
    assert "Echo 1" in answer.text
    path = f"/v1/conversations/{answer.headers['X-Conversation-Id']}"
    assert eventually(lambda: "thumbwheel_answering 0.0" in chat.http.get("/metrics").text)
    assert chat.http.get(path).status_code == 404
    assert chat.http.get("/v1/profile").json()["name"] is None
    again = chat.ask("My name is Bo.").headers["X-Conversation-Id"]
    assert chat.http.get(f"/v1/conversations/{again}").status_code == 200


def test_nobody_else_erases_anybody(chat: Chat) -> None:
    answer = chat.ask(user="ann").json()
    body, proof = asked([user_hash("user:ann", KEY)], b"guessed")
    for guess in (proof, {**proof, "X-Operator-Proof": b"gu\xe9ss"}, {}):
        refused = chat.http.post("/v1/erasures", content=body, headers=guess)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_the_operator")
    assert chat.http.get(f"/v1/conversations/{answer['conversation_id']}").status_code == 200


def test_what_is_looked_at_is_what_is_erased(chat: Chat, tmp_path: Path) -> None:
    user = user_hash("user:ann", KEY)
    answer = chat.ask("Where is my heron lamp?", user="ann").json()
    found = erasure.look([user], [], OPTIONS, tmp_path)
    assert found["conversations"] == [answer["conversation_id"]]
    assert "Where is my heron lamp?" in found["texts"]
    assert (
        asyncio.run(erasure.erase([user], [], OPTIONS, tmp_path))["counts"]["history"]
        == found["counts"]["history"]
        == 1
    )
    assert set(erasure.look([user], [], OPTIONS, tmp_path)["counts"].values()) == {0}
