"""On labelled data of others, what is found is right, and how that is counted is right too."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from benchmarks import pii_sets
from benchmarks.pii import Tally, described, overlaps_by_half, tally, wilson
from benchmarks.pii_sets import MERGED, Labelled, LabelledSet
from tests.conftest import public_or_skip
from thumbwheel.pii import NAME_KINDS, find


def tallies(labelled: LabelledSet) -> list[Tally]:
    kinds = [kind for kind in labelled.kinds if kind not in NAME_KINDS]
    counted = []
    for text in labelled.texts:
        found = [(MERGED.get(f.kind, f.kind), f.start, f.end) for f in find(text.text)]
        counted += [tally(text, found, kind) for kind in kinds]
    return counted


def f1(counted: list[Tally]) -> float:
    right = sum(t.right for t in counted)
    return 2 * right / (2 * right + sum(t.wrong + t.missed for t in counted))


def test_what_presidio_made_up_is_found() -> None:
    public_or_skip("pii/presidio_synth")
    assert f1(tallies(pii_sets.presidio_synth())) >= 0.95


def test_telephone_numbers_in_dialogues_are_found_and_little_else() -> None:
    public_or_skip("chat/sgd_pii_dev")
    counted = tallies(pii_sets.sgd())
    assert sum(t.right for t in counted) / sum(t.right + t.missed for t in counted) >= 0.8
    assert f1(counted) >= 0.95


def test_all_that_was_planted_in_the_seeds_support_chats_is_found_and_nothing_else() -> None:
    counted = tallies(pii_sets.seed())
    assert sum(t.right for t in counted) > 15
    assert f1(counted) == 1


def test_half_of_the_longer_span_has_to_be_shared() -> None:
    assert overlaps_by_half(("a", 0, 10), ("a", 6, 12)) is False
    assert overlaps_by_half(("a", 0, 10), ("a", 5, 10)) is True
    assert overlaps_by_half(("a", 0, 10), ("a", 10, 12)) is False


def test_a_label_makes_one_finding_right_and_the_next_wrong() -> None:
    text = Labelled("", (("email", 0, 10), ("phone", 20, 30)))
    found = [("email", 0, 10), ("email", 1, 10), ("phone", 40, 50), ("card", 0, 10)]
    assert tally(text, found, "email") == Tally(1, 1, 0)
    assert tally(text, found, "phone") == Tally(0, 1, 1)


def test_what_nobody_found_has_no_precision() -> None:
    assert described([Tally(0, 0, 3)])[0] == "none found"
    assert described([Tally(0, 0, 3)])[1].startswith("0.000")


@given(st.integers(0, 200), st.integers(1, 200))
def test_an_interval_holds_its_share_and_never_shrinks_to_nothing(right: int, cases: int) -> None:
    right = min(right, cases)
    low, high = wilson(right, cases)
    assert -1e-9 <= low <= right / cases + 1e-9
    assert right / cases - 1e-9 <= high <= 1 + 1e-9
    assert high > low


def test_the_f1_in_the_table_is_that_of_its_counts() -> None:
    for right, wrong, missed in product((1, 7), (0, 3), (0, 5)):
        shown = described([Tally(right, wrong, missed)])[2]
        assert shown.startswith(f"{f1([Tally(right, wrong, missed)]):.3f}")
