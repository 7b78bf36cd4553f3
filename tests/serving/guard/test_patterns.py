from __future__ import annotations

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
