from __future__ import annotations

import re

import pytest

from serving.guard.endpoint import AWAY, Endpoint, rule_of
from serving.guard.options import EndpointOptions
from tests.fakes import fake_judge
from thumbwheel.engine import free_port
from thumbwheel.moderation.wire import ANSWER

ASKED = [{"role": "user", "content": "How do I repot a fern?"}]


def options(url: str, when_away: str = "open") -> EndpointOptions:
    values = {"url": url, "model": "guard", "input": True, "output": "sentence", "seconds": 60.0, "rest_seconds": 60.0}
    return EndpointOptions.model_validate({**values, "when_away": when_away})


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("safe", None),
        ("\n\nsafe", None),
        ("unsafe\nS2", "moderation_S2"),
        ("unsafe\nS1,S10", "moderation_S1"),
        ("Unsafe", "moderation"),
        ("unsafe\nbecause of pruning", "moderation"),
    ],
)
def test_an_answer_is_read_as_llama_guard_writes_it(said: str, rule: str | None) -> None:
    match = ANSWER.match(said)
    assert isinstance(match, re.Match)
    assert rule_of(match) == rule


async def test_the_model_judges_the_last_message() -> None:
    with fake_judge(lambda text: {"unsafe\nS9" if "bomb" in text else "safe": 1.0}) as judge:
        endpoint = Endpoint(options(judge.url))
        assert await endpoint.rule(ASKED) is None
        assert await endpoint.rule([*ASKED, {"role": "assistant", "content": "a bomb"}]) == "moderation_S9"
        await endpoint.close()


@pytest.mark.parametrize(("when_away", "rule"), [("open", None), ("closed", AWAY)])
async def test_without_an_endpoint_it_is_as_the_options_say(when_away: str, rule: str | None) -> None:
    endpoint = Endpoint(options(f"http://127.0.0.1:{free_port()}/v1", when_away))
    assert await endpoint.rule(ASKED) == rule
    await endpoint.close()


async def test_an_unreadable_answer_is_no_verdict_and_the_endpoint_rests() -> None:
    with fake_judge(lambda text: {"I would say it is fine": 1.0}) as judge:
        endpoint = Endpoint(options(judge.url, "closed"))
        assert [await endpoint.rule(ASKED) for _ in range(3)] == [AWAY] * 3
        assert judge.calls == 1
        await endpoint.close()
