"""How the guardrails' benchmark counts."""

from __future__ import annotations

import pytest

from benchmarks.guard_links import program
from benchmarks.guard_sets import Injection, injections, prompt_sets
from benchmarks.guardrails import auc, share
from tests.conftest import public_or_skip


def test_an_order_stands_on_lines_of_its_own_at_its_place() -> None:
    assert Injection("a\nb", "X", "start").text == "X\na\nb"
    assert Injection("a\nb", "X", "middle").text == "a\nX\nb"
    assert Injection("a\nb", "X", "end").text == "a\nb\nX"


def test_roc_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    value, half = auc([0.9, 0.4], [0.5, 0.1])
    assert value == pytest.approx(0.75)
    assert 0 < half < 1


def test_no_hit_still_has_an_upper_bound() -> None:
    assert share(0, 40) == "0.0 % (0.0 to 8.8)"


def test_every_order_of_bipia_comes_in_every_document_of_its_kind() -> None:
    public_or_skip("safety/bipia")
    cases = injections()
    assert len(cases) == 50 * 75 + 50 * 50
    assert len({case.attack for case in cases}) == 125


def test_the_seeds_own_sets_need_no_public_data(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("THUMBWHEEL_PUBLIC_DATA", str(tmp_path))
    names = {each.name for each in prompt_sets()}
    assert names >= {"seed jailbreak", "seed benign", "seed questions"}


def test_what_is_left_of_a_program_is_neither_comment_nor_string() -> None:
    source = 'import os  # see evil.me\nx = "evil.me" + f(\n    """evil\n.me""", os.link(a))\n'
    assert program(source) == 'import os  ""\nx = "" + f(\n    "", os.link(a))\n'
    assert program("print 'no Python 3'(") == ""
