"""Which engines a request may go to, in which order, whatever is configured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serving.models.complexity import complexity, kind_of, marks_of
from serving.models.options import FallbackOptions, ModelsOptions, NgramOptions
from serving.models.routing import PRIMARY, route_of
from tests.serving.conftest import OPTIONS
from tests.serving.models.conftest import fallback

CASES = ["overload", "failure", "simple", "complex"]
KINDS = st.sampled_from(["simple", "complex", None])
MARKS = OPTIONS.models.complexity


@st.composite
def fallbacks(draw: st.DrawFn) -> list[FallbackOptions]:
    takes = draw(st.lists(st.lists(st.sampled_from(CASES), min_size=1, unique=True), max_size=4))
    trusted = draw(st.lists(st.booleans(), min_size=len(takes), max_size=len(takes)))
    made = [fallback(f"e{i}", "http://e", cases, trusted=trusted[i]) for i, cases in enumerate(takes)]
    return [FallbackOptions.model_validate(one) for one in made]


@given(fallbacks(), KINDS, st.booleans())
def test_every_route_asks_the_primary_once_and_nobody_twice(
    engines: list[FallbackOptions], kind: None, own: bool
) -> None:
    names = [one.engine for one in route_of(engines, kind, own).tries]
    assert names.count(PRIMARY) == 1
    assert len(set(names)) == len(names)


@given(fallbacks(), KINDS, st.booleans())
def test_an_engine_is_asked_for_what_it_takes_alone(engines: list[FallbackOptions], kind: None, own: bool) -> None:
    takes = {one.name: one.takes for one in engines}
    route = route_of(engines, kind, own)
    place = [one.engine for one in route.tries].index(PRIMARY)
    assert all(kind in takes[one.engine] and one.why == kind for one in route.tries[:place])
    assert all("failure" in takes[one.engine] and one.why == "failure" for one in route.tries[place + 1 :])
    assert all("overload" in takes[one.engine] and one.why == "overload" for one in route.overload)


@given(fallbacks(), KINDS)
def test_for_a_tenant_no_engine_is_asked_that_is_not_trusted(engines: list[FallbackOptions], kind: None) -> None:
    trusted = {one.name for one in engines if one.trusted} | {PRIMARY}
    route = route_of(engines, kind, for_tenant=True)
    assert {one.engine for one in (*route.tries, *route.overload)} <= trusted


TEXTS = st.text(max_size=300) | st.sampled_from(
    ["Why?", "def f(x):\n  return x_y;", "2 + 3 = 5", "1. a\n2. b\n?", "Hi"]
)


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_complexity_and_its_marks_are_shares(texts: list[str]) -> None:
    messages = [{"role": "user", "content": text} for text in texts]
    assert 0 <= complexity(messages, MARKS) <= 1
    assert all(0 <= share <= 1 for share in marks_of(messages, MARKS).values())
    assert marks_of(messages, MARKS).keys() == MARKS.weights.model_dump().keys()


@given(TEXTS, st.lists(TEXTS, max_size=4))
def test_more_turns_before_a_message_never_make_it_simpler(text: str, earlier: list[str]) -> None:
    alone, asked = [{"role": "user", "content": text}], [{"role": "user", "content": one} for one in (*earlier, text)]
    assert complexity(asked, MARKS) >= complexity(alone, MARKS)


@given(TEXTS, TEXTS)
def test_a_longer_message_never_has_fewer_marks_by_lines(text: str, more: str) -> None:
    short = marks_of([{"role": "user", "content": text}], MARKS)
    long = marks_of([{"role": "user", "content": f"{text}\n{more}"}], MARKS)
    assert all(long[name] >= short[name] for name in ("length", "maths", "reasoning", "asks"))


@pytest.mark.parametrize(
    ("mark", "text"),
    [
        ("code", "Fix this:\n```\nfor (int i = 0; i < n; i++) {\n```"),
        ("maths", "A train goes 60 km in 45 minutes; how many km in 3 hours?"),
        ("reasoning", "Explain why it rains."),
        ("asks", "What is it? And where? And who made it?"),
        ("length", "a" * 200),
    ],
)
def test_each_mark_is_found_where_it_stands_and_not_in_a_greeting(mark: str, text: str) -> None:
    assert marks_of([{"role": "user", "content": text}], MARKS)[mark] > 0.1
    assert marks_of([{"role": "user", "content": "Hello!"}], MARKS)[mark] < 0.01


def test_a_kind_begins_at_its_threshold() -> None:
    values = (MARKS.simple - 0.01, MARKS.simple, MARKS.complex - 0.01, MARKS.complex)
    assert [kind_of(value, MARKS) for value in values] == ["simple", None, None, "complex"]


@pytest.mark.parametrize("names", [["a", "a"], ["primary"]])
def test_two_engines_of_one_name_are_refused(names: list[str]) -> None:
    made = [fallback(name, "http://e", ["failure"]) for name in names]
    with pytest.raises(ValidationError, match="two engines are named"):
        ModelsOptions.model_validate({**OPTIONS.models.model_dump(), "fallbacks": made})


def test_thresholds_and_reaches_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ValidationError, match="more than complex"):
        type(MARKS).model_validate({**MARKS.model_dump(), "simple": 0.9, "complex": 0.1})
    with pytest.raises(ValidationError, match="more than longest"):
        NgramOptions(method="ngram", tokens=4, shortest=5, longest=4)
