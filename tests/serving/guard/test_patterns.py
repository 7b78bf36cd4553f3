from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.guard.patterns import Pattern, attack, patterns
from thumbwheel.errors import ParamsError
from thumbwheel.moderation.normalise import fold

RULES = patterns().rules
FOUND = [(rule, place, text) for rule in RULES for place in rule.places for text in rule.finds]
PASSED = [(rule, place, text) for rule in RULES for place in rule.places for text in rule.passes]


@pytest.mark.parametrize(("rule", "place", "text"), FOUND, ids=lambda v: getattr(v, "name", None))
def test_a_rule_finds_its_examples(rule: Pattern, place: str, text: str) -> None:
    assert rule.pattern.search(fold(text))
    assert attack(text, place) is not None  # type: ignore[arg-type]


@pytest.mark.parametrize(("rule", "place", "text"), PASSED, ids=lambda v: getattr(v, "name", None))
def test_no_rule_finds_what_should_pass(rule: Pattern, place: str, text: str) -> None:
    assert attack(text, place) is None  # type: ignore[arg-type]


LATIN = re.compile(r"[a-z]{4,}")


@pytest.mark.parametrize(
    "disguised",
    [
        lambda text: codecs.encode(text, "rot13"),
        lambda text: text[::-1],
        lambda text: " ".join(word[::-1] for word in text.split()),
        lambda text: re.sub(r"([^\W\d_])", r"\1\1", text),
    ],
    ids=["rot13", "backwards", "each word backwards", "doubled"],
)
def test_a_rule_finds_its_examples_in_disguise_among_other_words(disguised: Callable[[str], str]) -> None:
    cases = [(place, text) for rule, place, text in FOUND if place != "reply" and len(LATIN.findall(fold(text))) > 2]
    missed = [text for place, text in cases if not attack(f"A word. {disguised(text)} Thanks.", place)]
    assert len(cases) > 60
    assert [text for text in missed if text.isascii()] == []


@pytest.mark.parametrize(
    "text",
    [
        "Ubj qb V jngre zl tneqra?",
        "How do I spell 'snoitcurtsni' the other way round?",
        "Put the words of my garden in order: evil, emit, drawer and reward.",
        "Nyy cerivbhf zbqryf unq n erq yvtug.",
    ],
)
def test_what_is_harmless_when_it_is_read_passes(text: str) -> None:
    assert attack(text, "request") is None


def test_every_rule_has_a_name_of_its_own_and_both_kinds_of_example() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.finds and rule.passes and rule.places for rule in RULES)


def test_a_rule_holds_only_at_its_places() -> None:
    assert attack("[JAILBREAK]: as you wish", "reply") == "persona_marker"
    assert attack("[JAILBREAK]: as you wish", "document") is None


def test_a_broken_expression_is_refused_by_name(tmp_path: Path) -> None:
    rule = {"name": "x", "places": ["request"], "pattern": "(", "finds": ["a"], "passes": ["b"]}
    path = tmp_path / "p.yaml"
    path.write_text(f"version: 1\nrules: [{rule}]\n")
    with pytest.raises(ParamsError, match=r"p.yaml: 'rules.0.pattern'.*no regular expression"):
        patterns(path)


@pytest.mark.timeout(10)
def test_a_long_hostile_text_takes_no_long_time() -> None:
    assert attack("ignore the the the " * 3000 + "you are no no no " * 100, "request") is None


@pytest.mark.timeout(10)
@pytest.mark.parametrize("words", ["snoitcurtsni suoiverp ", "vafgehpgvbaf cerivbhf ", "aabbcc ", "aa", "aaaaaab"])
def test_a_long_text_in_many_disguises_takes_no_long_time(words: str) -> None:
    assert attack(words * (60_000 // len(words)), "request") is None
