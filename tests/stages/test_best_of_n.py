from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stages import best_of_n
from stages.best_of_n import BestOfNParams, Comparison, Resampled, best_of, choose, question, resample
from tests.events import feedback_event
from tests.fakes import fake_judge, served
from tests.stages.opinions import BEST_OF_N
from thumbwheel.errors import EngineError, ModelError
from thumbwheel.settings import settings


def judged(fresh: list[str], first_is_better: Any, margin: float = 0.1) -> Resampled:
    async def sample(events: Sequence[Mapping[str, Any]]) -> list[list[str]]:
        return [fresh for _ in events]

    async def prefer(comparisons: Sequence[Comparison]) -> list[float | None]:
        return [first_is_better(comparison) for comparison in comparisons]

    (found,) = asyncio.run(best_of([feedback_event(reply="old")], sample, prefer, margin))
    return found


def taste(order: list[str]) -> Any:
    """A judge without position bias: what stands later in `order` is better."""
    return lambda c: 0.9 if order.index(c.first) > order.index(c.second) else 0.1


def test_the_best_of_the_samples_is_chosen() -> None:
    shares = {"good": 0.7, "best": 0.95}

    found = judged(["good", "best"], lambda c: shares.get(c.first) or 1 - shares[c.second])

    assert found == Resampled(text="best")


def test_a_judge_that_always_prefers_the_first_makes_no_pair_and_is_all_doubt() -> None:
    assert judged(["new"], lambda c: 0.99) == Resampled(reason="no_better_sample", other="new", doubt=1.0)


def test_a_worse_sample_makes_no_pair() -> None:
    assert judged(["new"], taste(["new", "old"])).reason == "no_better_sample"


def test_a_better_sample_within_the_margin_makes_no_pair() -> None:
    found = judged(["new"], lambda c: 0.55 if c.first == "new" else 0.45)
    assert (found.text, found.reason, found.other) == (None, "no_better_sample", "new")
    assert found.doubt == pytest.approx(0.9)


def test_a_verdict_that_cannot_be_read_is_never_a_win() -> None:
    found = judged(["new"], lambda c: 0.99 if c.first == "new" else None)
    assert found == Resampled(reason="judge_failed", other="new", doubt=1.0)


def test_samples_that_are_blank_or_the_disliked_reply_itself_are_not_judged() -> None:
    assert judged(["old", " ", ""], lambda c: pytest.fail("nothing to judge")) == Resampled(reason="no_fresh_sample")


def test_each_sample_is_judged_in_both_orders_against_the_disliked_reply() -> None:
    seen: list[tuple[str, str]] = []

    judged(["a", "b", "a"], lambda c: seen.append((c.first, c.second)) or 0.5)

    assert seen == [("a", "old"), ("old", "a"), ("b", "old"), ("old", "b")]


@given(st.dictionaries(st.text(min_size=1), st.none() | st.floats(0, 1)), st.floats(0, 0.49))
def test_what_is_chosen_passes_the_margin_and_nothing_scores_higher(
    scores: dict[str, float | None], margin: float
) -> None:
    found = choose(scores, margin)

    known = [score for score in scores.values() if score is not None]
    if found.text is None:
        assert found.reason
        assert all(score < 0.5 + margin for score in known)
    else:
        assert scores[found.text] == max(known)
        assert max(known) >= 0.5 + margin


def test_the_judge_reads_a_conversation_with_its_speakers_and_a_question_as_it_is() -> None:
    talk = [("system", "s"), ("user", "Hello"), ("assistant", "Hi"), ("user", "Why?")]

    assert question([("system", "s"), ("user", "Why?")]) == "Why?"
    assert question(talk) == "User: Hello\nAssistant: Hi\nUser: Why?"


def test_turned_off_it_starts_nothing_and_says_so(workspace: Path) -> None:
    off = BestOfNParams.model_validate({**BEST_OF_N, "samples": 0})

    assert resample([feedback_event()], off) == [Resampled(reason="best_of_n_off")]


def test_a_missing_base_model_is_one_clear_error(workspace: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        resample([feedback_event()], BestOfNParams.model_validate(BEST_OF_N))


class Sampler:
    """An engine that gives the same samples to every prompt, each with how it ended."""

    def __init__(self, samples: dict[str, str], status: int = 200) -> None:
        self.samples, self.status = samples, status
        self.asked: list[dict[str, Any]] = []

    async def complete(self, request: Request) -> Response:
        self.asked.append(await request.json())
        choices = [{"message": {"content": t}, "finish_reason": end} for t, end in self.samples.items()]
        return JSONResponse({"choices": choices}, self.status)

    @contextmanager
    def running(self, model: Path, name: str, max_length: int, log: Path) -> Iterator[str]:
        route = Route("/v1/chat/completions", self.complete, methods=["POST"])
        with served(Starlette(routes=[route])) as url:
            yield f"{url}/v1"


def better(text: str) -> Any:
    """A verdict for whichever side holds `text`; a tie where none does."""

    def verdict(asked: str) -> dict[str, float]:
        if text not in asked:
            return {"C": 1.0}
        first = asked.index(text) < asked.index("[Answer B]")
        return {"A": 0.9, "B": 0.1} if first else {"A": 0.1, "B": 0.9}

    return verdict


@pytest.fixture
def base(workspace: Path) -> Path:
    (workspace / "models" / "base").mkdir(parents=True)
    (workspace / "models" / "base" / "config.json").write_text("{}")
    return workspace


def resampled(
    sampler: Sampler, verdict: Any, monkeypatch: pytest.MonkeyPatch, count: int = 1, **changes: Any
) -> list[Resampled]:
    monkeypatch.setattr(best_of_n, "running_engine", sampler.running)
    with fake_judge(verdict) as judge:
        monkeypatch.setenv("THUMBWHEEL_JUDGE_URL", judge.url)
        settings.cache_clear()
        events = [feedback_event(message_id=f"m-{n}") for n in range(count)]
        return resample(events, BestOfNParams.model_validate({**BEST_OF_N, **changes}))


def test_a_sample_that_the_judge_prefers_over_http_is_chosen(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Sampler({"Nine months.": "stop", "No idea.": "stop"})

    assert resampled(engine, better("Nine months."), monkeypatch)[0].text == "Nine months."
    assert engine.asked[0]["messages"] == feedback_event()["prompt"]
    assert engine.asked[0]["n"] == BEST_OF_N["samples"]


def test_a_sample_that_was_cut_off_is_not_judged(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Sampler({"Nine months and": "length"})

    assert resampled(engine, better("Nine"), monkeypatch) == [Resampled(reason="no_fresh_sample")]


def test_only_so_many_events_are_tried(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Sampler({"Nine months.": "stop"})

    found = resampled(engine, better("Nine months."), monkeypatch, count=3, max_events=2)

    assert [each.reason for each in found] == ["", "", "best_of_n_limit"]
    assert len(engine.asked) == 2


def test_a_prompt_that_does_not_fit_the_window_has_no_samples(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resampled(Sampler({}, 400), better("x"), monkeypatch) == [Resampled(reason="no_fresh_sample")]


def test_an_engine_that_fails_is_an_error_and_not_a_lack_of_samples(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EngineError, match="status 500"):
        resampled(Sampler({}, 500), better("x"), monkeypatch)
