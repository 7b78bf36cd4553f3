"""The engine's model and the page of capacity that is reckoned with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from benchmarks.capacity import FIGURES, engine_of, needs, page
from benchmarks.engine_model import Engine, Traffic, first_token_ms, most_a_second

ENGINE = Engine(step=10, token=0.02, stream=0.05, budget=2048, streams=64)
TRAFFIC = Traffic(prompt=300, reply=100)


def test_a_lone_request_waits_for_its_own_prompt_alone() -> None:
    taken = first_token_ms(ENGINE, TRAFFIC, rate=0.01, seconds=50_000)
    assert min(taken) > ENGINE.step
    assert sum(taken) / len(taken) == pytest.approx(ENGINE.step + 300 * ENGINE.token, rel=0.05)


def test_more_requests_never_come_sooner() -> None:
    means = [sum(t) / len(t) for t in (first_token_ms(ENGINE, TRAFFIC, rate, 60) for rate in (1, 20, 40))]
    assert means == sorted(means)


def test_the_rate_that_is_carried_keeps_the_limit_and_a_fifth_more_does_not() -> None:
    carried = most_a_second(ENGINE, TRAFFIC, 150, 60)
    late = [sum(t > 150 for t in first_token_ms(ENGINE, TRAFFIC, rate, 60)) for rate in (carried, 1.2 * carried)]
    assert late[0] <= 0.01 * 48 * carried * 1.1
    assert late[1] > 0.01 * 48 * carried * 1.2


def test_a_first_piece_comes_later_than_a_first_token_and_never_after_the_reply() -> None:
    first, piece, reply = (sum(first_token_ms(ENGINE, TRAFFIC, 5, 60, words=n)) for n in (1, 20, 10_000))
    assert first < piece < reply
    lone = first_token_ms(ENGINE, TRAFFIC, rate=0.01, seconds=200_000, words=10_000)
    by_token = ENGINE.step + ENGINE.token + ENGINE.stream
    assert sum(lone) / len(lone) == pytest.approx(ENGINE.step + 300 * ENGINE.token + 100 * by_token, rel=0.05)


def test_an_engine_too_slow_for_the_limit_carries_nothing() -> None:
    assert most_a_second(ENGINE, TRAFFIC, 5, 20) == 0


def test_the_page_is_that_of_its_figures() -> None:
    figures = yaml.safe_load(FIGURES.read_text())
    written = Path(FIGURES).with_suffix(".md").read_text()
    assert "\n".join(page(figures["measured"], figures["assumed"])) + "\n" == written


def test_twice_the_requests_take_twice_the_engines() -> None:
    figures = yaml.safe_load(FIGURES.read_text())
    one, two = (needs(rate, 50, figures["measured"], figures["assumed"]) for rate in (5_000, 10_000))
    assert (one["engines (GPUs)"][1], two["engines (GPUs)"][1]) == ("90", "180")


def test_a_memory_twice_as_fast_halves_what_it_takes_to_read_the_weights() -> None:
    figures = yaml.safe_load(FIGURES.read_text())["assumed"]["engine"]
    slow, fast = (engine_of({**figures, "memory_tb_s": speed}, 600, 150) for speed in (2, 4))
    assert slow.step - figures["overhead_ms"] == pytest.approx(2 * (fast.step - figures["overhead_ms"]))
    assert slow.stream == pytest.approx(2 * fast.stream)
