"""How many answers one caller may have at once, over HTTP with a fake engine and many threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.keys import key_file
from serving.openai_api import ApiError
from serving.options import SHIPPED, Options, Tier, load_options
from serving.shares import Shares
from tests.serving.conftest import Chat, chatting, options_with
from tests.serving.models.conftest import state
from tests.waiting import eventually

__all__ = ["state"]
TIER = Tier(per_second=1000, burst=1000, at_once=2)
CHAT = "/v1/chat/completions"
FORWARDED = "X-Forwarded-For"
BODY = {"messages": [{"role": "user", "content": "Hello?"}]}
REFUSED = (429, "concurrency_limit_exceeded")


def shared(at_once: int, **sections: dict[str, Any]) -> Options:
    tiers = {name: {**TIER.model_dump(), "at_once": at_once} for name in ("anonymous", "standard", "reviewer")}
    return options_with(limits={"store": "process", "tiers": tiers}, **sections)


def told(response: httpx.Response) -> tuple[int, str | None]:
    return response.status_code, response.json().get("error", {}).get("code")


@contextmanager
def waiting_answers(chat: Chat, number: int, **headers: str) -> Iterator[list[Future[httpx.Response]]]:
    """Ask so often at once of an engine that begins no answer before the `with` block ends."""

    def ask() -> httpx.Response:
        return httpx.post(f"{chat.url}{CHAT}", json=BODY, headers=headers, timeout=60)

    chat.engine.is_held = True
    with ThreadPoolExecutor(number) as pool:
        try:
            yield [pool.submit(ask) for _ in range(number)]
        finally:
            chat.engine.is_held = False


def test_of_a_storm_by_one_caller_no_more_than_its_share_is_let_in(tmp_path: Path) -> None:
    with chatting(tmp_path, shared(4)) as chat:
        with waiting_answers(chat, 20) as storm:
            assert eventually(lambda: sum(one.done() for one in storm) == 16)
            assert eventually(lambda: len(chat.engine.payloads) == 4)
            assert {told(one.result()) for one in storm if one.done()} == {REFUSED}
        assert Counter(told(one.result()) for one in storm) == {REFUSED: 16, (200, None): 4}
        assert len(chat.engine.payloads) == 4
        assert chat.ask().status_code == 200


def test_the_refusal_says_when_to_come_back_and_is_counted(tmp_path: Path) -> None:
    with chatting(tmp_path, shared(1, admission={"retry_seconds": 7.0})) as chat, waiting_answers(chat, 1):
        assert eventually(lambda: chat.engine.payloads)
        refused = chat.ask()
        assert (told(refused), refused.headers["Retry-After"]) == (REFUSED, "7")
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert 'thumbwheel_limited_total{limit="at_once",tier="anonymous"}' in chat.http.get("/metrics").text


def test_those_that_wait_for_a_place_count_and_others_still_find_one(tmp_path: Path, state: Path) -> None:
    _, key = key_file().add("app", "standard")
    narrow = {"answers": 1, "waiting": 2, "wait_seconds": 60.0}
    with chatting(tmp_path, shared(2, admission=narrow)) as chat:
        with waiting_answers(chat, 2):
            assert eventually(lambda: "thumbwheel_waiting 1.0" in chat.http.get("/metrics").text)
            assert told(chat.ask()) == REFUSED
            with waiting_answers(chat, 1, Authorization=f"Bearer {key}") as other:
                assert eventually(lambda: "thumbwheel_waiting 2.0" in chat.http.get("/metrics").text)
        assert other[0].result().status_code == 200


def test_a_thumb_is_taken_while_a_caller_has_its_share(tmp_path: Path) -> None:
    with chatting(tmp_path, shared(1)) as chat:
        answer = chat.ask().json()
        with waiting_answers(chat, 1):
            assert eventually(lambda: len(chat.engine.payloads) == 2)
            assert told(chat.ask()) == REFUSED
            assert chat.rate(answer, rating="up").status_code == 201


@pytest.mark.parametrize(
    ("address", "is_theirs"),
    [("2001:db8::1", True), ("2001:db8::ffff:2", True), ("2001:db8:0:1::1", False), ("192.0.2.1", False)],
)
def test_of_those_without_credentials_an_address_is_a_caller_whatever_its_sessions(
    tmp_path: Path, address: str, is_theirs: bool
) -> None:
    with chatting(tmp_path, shared(1, access={"proxies": 1})) as chat:
        with waiting_answers(chat, 1, **{FORWARDED: "2001:db8::1"}):
            assert eventually(lambda: chat.engine.payloads)
            with waiting_answers(chat, 1, **{FORWARDED: address}) as other:
                assert eventually(lambda: other[0].done() or len(chat.engine.payloads) == 2)
        assert told(other[0].result()) == (REFUSED if is_theirs else (200, None))


def left_whole(chat: Chat) -> None:
    chat.engine.is_held = True
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{chat.url}{CHAT}", json=BODY, timeout=0.3)


def left_stream(chat: Chat) -> None:
    chat.engine.text, chat.engine.delay = "A long answer. " * 200, 0.05
    with httpx.stream("POST", f"{chat.url}{CHAT}", json={**BODY, "stream": True}, timeout=60) as response:
        next(response.iter_lines())


def ended_by_its_deadline(chat: Chat) -> None:
    chat.engine.delay, chat.engine.text = 0.2, "Hi. " * 600
    assert "deadline_exceeded" in chat.ask(stream=True).text


def failed(chat: Chat) -> None:
    chat.engine.status = 500
    assert chat.ask().status_code == 503


def broken_off(chat: Chat) -> None:
    chat.engine.reports = {"message": "?", "code": 500}
    assert "engine_unavailable" in chat.ask(stream=True).text


def refused(chat: Chat) -> None:
    assert chat.http.post(CHAT, content=b"{").status_code == 400
    assert chat.ask(model="nobody's").status_code == 404


def answered(chat: Chat) -> None:
    assert chat.ask().status_code == 200
    assert chat.ask(stream=True).status_code == 200


ENDINGS: list[Callable[[Chat], None]] = [
    left_whole, left_stream, ended_by_its_deadline, failed, broken_off, refused, answered
]  # fmt: skip


@pytest.mark.parametrize("end", ENDINGS)
def test_a_share_is_free_again_however_the_answer_ended(tmp_path: Path, end: Callable[[Chat], None]) -> None:
    brief = {"wait_seconds": 1.0, "answer_seconds": 1.0} if end is ended_by_its_deadline else {}
    patient = {"failures": 100}
    with chatting(tmp_path, shared(1, admission=brief, breaker=patient)) as chat:
        end(chat)
        chat.engine.status, chat.engine.reports, chat.engine.delay, chat.engine.text = 200, None, 0.0, None
        chat.engine.is_held = False
        assert eventually(lambda: chat.ask().status_code == 200)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=80))
def test_nobody_holds_more_than_a_share_and_nothing_is_kept_of_who_holds_none(
    steps: list[tuple[str, bool]],
) -> None:
    shares, held = Shares(1), {name: list[AbstractContextManager[None]]() for name in "abc"}
    for caller, asks in steps:
        one = shares.one(caller, "standard", TIER)
        if not asks:
            if held[caller]:
                held[caller].pop().__exit__(None, None, None)
        elif len(held[caller]) < TIER.at_once:
            one.__enter__()
            held[caller].append(one)
        else:
            with pytest.raises(ApiError, match="at once"):
                one.__enter__()
        assert shares._held == Counter({name: len(own) for name, own in held.items() if own})


def test_as_shipped_no_caller_can_have_all_places() -> None:
    options = load_options(SHIPPED)
    assert max(tier.at_once for tier in options.limits.tiers.values()) < options.admission.answers
