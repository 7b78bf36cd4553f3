"""The judge's client against a judge over HTTP with known verdicts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from eval.cache import read_cached
from eval.judge import Ask, Judge, NotKeptError, load_prompt, public
from eval.ruling import Ruling, winner
from tests.fakes import FakeJudge, fake_judge
from tests.serving_thread import served
from thumbwheel.engine import free_port
from thumbwheel.errors import JudgeError

PAIRWISE = load_prompt("pairwise")


def ask(text: str) -> Ask:
    return Ask(PAIRWISE, PAIRWISE.messages({"question": text, "answer_a": "one", "answer_b": "two"}))


def client(url: str | None, cache: Path, **changes: Any) -> Judge:
    settings: dict[str, Any] = {
        "api_key": None,
        "concurrency": 2,
        "retries": 1,
        "pause_seconds": 0.01,
        "timeout_seconds": 60,
        "verdict_tokens": 2,
        "min_mass": 0.2,
    }
    return Judge(url, "known", "known", cache, **(settings | changes))


def rule(judge: FakeJudge, cache: Path, *texts: str) -> list[Ruling]:
    return asyncio.run(client(judge.url, cache).rule([ask(text) for text in texts]))


def test_a_verdict_is_the_share_of_the_verdict_tokens(tmp_path: Path) -> None:
    with fake_judge(lambda _: {"A": 0.3, " B": 0.1, "The": 0.6}) as judge:
        (ruling,) = rule(judge, tmp_path, "q")
    assert ruling.probabilities == pytest.approx({"A": 0.75, "B": 0.25, "C": 0.0})
    assert winner(ruling, 0.05) == "first"


def test_a_judge_without_probabilities_is_read_by_its_words(tmp_path: Path) -> None:
    with fake_judge(lambda _: {"[[B]]": 1.0}) as judge:
        judge.speaks = True
        (ruling,) = rule(judge, tmp_path, "q")
    assert winner(ruling, 0.05) == "second"


def test_an_unparseable_answer_is_an_error_and_no_verdict(tmp_path: Path) -> None:
    with fake_judge(lambda _: {"Both are fine": 1.0}) as judge:
        (ruling,) = rule(judge, tmp_path, "q")
    assert ruling.error is not None
    assert ruling.error.startswith("unparseable")
    assert not ruling.probabilities


def test_a_second_run_costs_no_call(tmp_path: Path) -> None:
    with fake_judge(lambda _: {"A": 1.0}) as judge:
        first = rule(judge, tmp_path, "q1", "q2", "q1")
        assert judge.calls == 2
        assert rule(judge, tmp_path, "q1", "q2", "q1") == first
        assert judge.calls == 2


def test_an_unparseable_answer_is_kept_too_and_not_asked_again(tmp_path: Path) -> None:
    with fake_judge(lambda _: {"Hm": 1.0}) as judge:
        rule(judge, tmp_path, "q")
        rule(judge, tmp_path, "q")
        assert judge.calls == 1


def test_a_judge_that_goes_down_halfway_loses_nothing(tmp_path: Path) -> None:
    texts = [f"q{i}" for i in range(8)]
    with fake_judge(lambda _: {"A": 1.0}) as judge:
        judge.fails_after = 4
        with pytest.raises(JudgeError, match="THUMBWHEEL_JUDGE_URL"):
            rule(judge, tmp_path, *texts)
        left = sum(read_cached(tmp_path, ask(text).key("known")) is None for text in texts)
        assert left == 4
        judge.fails_after, judge.calls = None, 0
        assert len(rule(judge, tmp_path, *texts)) == 8
        assert judge.calls == left


def test_a_damaged_cache_entry_is_asked_again(tmp_path: Path) -> None:
    with fake_judge(lambda _: {"A": 1.0}) as judge:
        rule(judge, tmp_path, "q")
        next(tmp_path.rglob("*.json")).write_text('{"text": ')
        rule(judge, tmp_path, "q")
        assert judge.calls == 2


@pytest.mark.parametrize(
    "damage", [b"", b"\xff\xfe", b"[]", b'{"reply": {"text": "B", "steps": []}, "seal": "?"}', b"null"]
)
def test_no_damage_to_the_cache_becomes_a_verdict(tmp_path: Path, damage: bytes) -> None:
    with fake_judge(lambda _: {"A": 1.0}) as judge:
        first = rule(judge, tmp_path, "q")
        next(tmp_path.rglob("*.json")).write_bytes(damage)
        assert rule(judge, tmp_path, "q") == first
        assert judge.calls == 2


def test_one_flipped_bit_in_a_kept_reply_is_seen(tmp_path: Path) -> None:
    with fake_judge(lambda _: {"A": 0.7, "B": 0.3}) as judge:
        first = rule(judge, tmp_path, "q")
        path = next(tmp_path.rglob("*.json"))
        path.write_bytes(path.read_bytes().replace(b'["A", ', b'["B", ', 1))
        assert rule(judge, tmp_path, "q") == first


def test_a_full_disk_is_one_line_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with fake_judge(lambda _: {"A": 1.0}) as judge, pytest.raises(JudgeError, match="No space left on device"):
        rule(judge, tmp_path, "q")


def test_a_busy_judge_is_asked_again_after_the_time_it_names(tmp_path: Path) -> None:
    with fake_judge(lambda _: {"A": 1.0}) as judge:
        judge.busy_once = True
        assert all(ruling.error is None for ruling in rule(judge, tmp_path, "q1", "q2"))
        assert judge.calls == 4


def test_replies_that_are_under_way_when_the_judge_goes_down_are_kept(tmp_path: Path) -> None:
    with fake_judge(lambda _: {"A": 1.0}) as judge:
        judge.fails_after = 3
        with pytest.raises(JudgeError, match="3 of 8 replies are kept"):
            rule(judge, tmp_path, *(f"q{i}" for i in range(8)))


def test_tokens_are_counted_once_a_question_and_money_follows(tmp_path: Path) -> None:
    with fake_judge(lambda _: {"A": 1.0}) as fake:
        fake.tokens = (1000, 2)
        judge = client(fake.url, tmp_path)
        asyncio.run(judge.rule([ask("q1"), ask("q2"), ask("q1")]))
    assert (judge.usage.prompt, judge.usage.completion, judge.usage.unmeasured) == (2000, 4, 0)
    assert judge.usage.money(3.0, 15.0) == pytest.approx(0.00606)
    assert judge.usage.money(None, 15.0) is None


def test_a_reply_without_a_count_makes_the_cost_unknown(tmp_path: Path) -> None:
    with fake_judge(lambda _: {"A": 1.0}) as fake:
        judge = client(fake.url, tmp_path)
        asyncio.run(judge.rule([ask("q")]))
    assert judge.usage.unmeasured == 1
    assert judge.usage.money(1.0, 1.0) is None


def test_a_judge_without_an_address_gives_what_is_kept_and_nothing_else(tmp_path: Path) -> None:
    with fake_judge(lambda _: {"A": 1.0}) as fake:
        first = rule(fake, tmp_path, "q")
    kept = client(None, tmp_path)
    assert asyncio.run(kept.rule([ask("q")])) == first
    with pytest.raises(NotKeptError):
        asyncio.run(kept.rule([ask("other")]))


def test_a_prompt_reworded_under_an_old_version_is_another_prompt() -> None:
    from dataclasses import replace

    reworded = replace(PAIRWISE, lead="I say:")
    assert reworded.label != PAIRWISE.label
    assert replace(ask("q"), prompt=reworded).key("known") != ask("q").key("known")


def test_an_unreachable_judge_is_one_line_that_names_the_address(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(JudgeError, match=url) as caught:
        asyncio.run(client(url, tmp_path).rule([ask("q")]))
    assert "THUMBWHEEL_JUDGE_URL" in str(caught.value)


@pytest.mark.parametrize("status", [401, 402, 404, 308])
def test_a_judge_that_refuses_key_account_or_address_is_not_asked_twice(tmp_path: Path, status: int) -> None:
    with fake_judge(lambda _: {"A": 1.0}) as judge:
        judge.refusal = status
        with pytest.raises(JudgeError, match="refuses"):
            rule(judge, tmp_path, "q")
        assert judge.calls == 1


def test_a_judge_that_never_gave_a_completion_ends_the_run_and_keeps_nothing(tmp_path: Path) -> None:
    with fake_judge(lambda _: {"A": 1.0}) as judge:
        judge.refusal = 400
        with pytest.raises(JudgeError, match=r"answered none of 2 questions \(status 400.*THUMBWHEEL_JUDGE_URL"):
            rule(judge, tmp_path, "q1", "q2")
        judge.refusal = 200
        assert all(ruling.error is None for ruling in rule(judge, tmp_path, "q1", "q2"))


def test_a_question_that_a_judge_cannot_take_is_an_error_where_it_took_others(tmp_path: Path) -> None:
    with fake_judge(lambda _: {"A": 1.0}) as judge:
        asked = client(judge.url, tmp_path)
        asyncio.run(asked.rule([ask("q1")]))
        judge.refusal = 400
        (ruling,) = asyncio.run(asked.rule([ask("too long")]))
    assert ruling.error == 'status 400: {"error":{"message":"no"}}'


def test_a_judge_that_lets_its_answer_drip_is_given_up(tmp_path: Path) -> None:
    async def dripping(_: Request) -> StreamingResponse:
        async def drops() -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await asyncio.sleep(0.05)

        return StreamingResponse(drops())

    drips = Starlette(routes=[Route("/v1/chat/completions", dripping, methods=["POST"])])
    with served(drips) as url, pytest.raises(JudgeError, match=r"cannot be reached \(TimeoutError"):
        asyncio.run(client(f"{url}/v1", tmp_path, timeout_seconds=0.3, retries=0).rule([ask("q")]))


@pytest.mark.parametrize("url", ["http://[broken/v1", "ftp://127.0.0.1/v1", "http:///v1"])
def test_an_address_that_is_none_is_one_clear_line(tmp_path: Path, url: str) -> None:
    with pytest.raises(JudgeError, match="THUMBWHEEL_JUDGE_URL"):
        asyncio.run(client(url, tmp_path, retries=0).rule([ask("q")]))


def test_a_password_in_the_address_is_shown_to_nobody(tmp_path: Path) -> None:
    url = f"http://ana:secret@127.0.0.1:{free_port()}/v1"
    with pytest.raises(JudgeError) as caught:
        asyncio.run(client(url, tmp_path).rule([ask("q")]))
    assert "secret" not in str(caught.value)
    assert public(url) == url.replace("ana:secret@", "")


def test_a_key_is_sent_without_the_line_end_that_came_with_it_and_never_shown(tmp_path: Path) -> None:
    assert client(None, tmp_path, api_key="sk-1\n").headers == {"Authorization": "Bearer sk-1"}
    with pytest.raises(JudgeError, match="THUMBWHEEL_JUDGE_API_KEY") as caught:
        client(None, tmp_path, api_key="sk 1é")
    assert "sk" not in str(caught.value)


def test_another_prompt_version_or_judge_is_another_question() -> None:
    from dataclasses import replace

    newer = replace(ask("q"), prompt=replace(PAIRWISE, version=PAIRWISE.version + 1))
    assert len({ask("q").key("known"), newer.key("known"), ask("q").key("other")}) == 3


def test_a_judge_that_may_be_led_begins_with_the_prompts_lead(tmp_path: Path) -> None:
    with fake_judge(lambda last: {"B": 1.0} if last == "Verdict:" else {"A": 1.0}) as judge:
        led = asyncio.run(client(judge.url, tmp_path, leads=True).rule([ask("q")]))
    assert winner(led[0], 0.05) == "second"


def test_answers_with_braces_and_dollars_stand_in_the_prompt_as_they_are() -> None:
    fields = {"question": "${x} {y} $z", "answer_a": "$answer_b", "answer_b": "{}"}
    text = PAIRWISE.messages(fields, ["$1"])[-1][1]
    assert "${x} {y} $z" in text
    assert "[Answer A]\n$answer_b" in text
    assert "known to be right]\n$1" in text
