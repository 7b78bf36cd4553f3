"""The dossier: what it says, what it draws, and that nothing in it is taken for markup."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.criteria import Criterion, Line
from eval.dossier import PADDING, WIDTH, Comparison, Contents, curve, dial, number, render, worst_first


def line(**changes: Any) -> dict[str, Any]:
    criterion = Criterion(name="heldout", metric="heldout_nll", kind="superiority", margin=0.0, required=True)
    values = {"n": 40, "delta": -0.3, "low": -0.4, "high": -0.2, "p": 0.001, "mde": 0.05}
    return Line(criterion, "pass", "an improvement is shown", **values).as_json() | changes


def gate(*lines: dict[str, Any], **changes: Any) -> dict[str, Any]:
    facts = {"outcome": "pass", "reason": "all is shown", "criteria": list(lines or [line()]), "bundle": "ab" * 32}
    trial = {"pairs": 48, "failed": 1, "kappa": None, "flips": None, "length_bias": None, "position_bias": None}
    trial["agreement"] = {"value": 0.91, "low": 0.8, "high": 0.97}
    judge = {
        "name": "local",
        "heard": False,
        "reason": "it flips",
        "verdicts": 9,
        "errors": 1,
        "pairs": 4,
        "flipped": 4,
    }
    trial |= {"self_preference": None, "prompts": ["pairwise@3+ab"], "categories": {}}
    judge["sequential"] = {"on": True, "answer": "above", "judged": 3, "questions": 8, "calls_saved": 20}
    judge |= {
        "people": 0,
        "is_champion": False,
        "cost": {"prompt": 1200, "completion": 9, "unmeasured": 0, "money": None},
    }
    champion = {"version": None, "bundle": "cd" * 32}
    rest = {"champion": champion, "alpha": 0.05, "parity": parity()}
    return facts | {"judge": judge | {"trial": trial}} | rest | changes


def parity(**changes: Any) -> dict[str, Any]:
    scale = {"value": 0.995, "low": 0.97, "high": 1.02, "told": True}
    facts = {"conversations": 24, "tokens": 1234, "top1": 0.876, "divergence": 0.0155, "faults": []}
    facts |= {"scales": {"sft": scale, "dpo": None}, "answers_equal": 0.25, "answers_prefix": 0.5}
    return facts | {"prompts_changed": [], "files_changed": []} | changes


def comparison(gain: float | None, reply: str = "yes", question: str = "q1") -> Comparison:
    return Comparison("benign", question, "tone", ("Hello?",), (reply,), ("no",), gain, "loses by the judge")


def test_the_decision_stands_before_everything_else() -> None:
    page = render(gate(), Contents())
    body = page[page.index("<body>") :]
    assert body.index("<h1>pass</h1>") < body.index("Criteria") < body.index("The judge on trial")
    assert "ab" * 32 in page


def test_parity_is_shown_with_what_it_cannot_tell() -> None:
    page = render(gate(), Contents())
    assert "Nothing tells the bundle under the engine from the" in page
    assert "0.970 to 1.020" in page
    assert "the adapter changes nothing" in page


def test_the_faults_of_a_bundle_are_named() -> None:
    page = render(gate(parity=parity(faults=["adapter dpo is present at 0.01 of its scale"])), Contents())
    assert "another model</span></span>\nadapter dpo is present at 0.01 of its scale." in page


TRADED = [
    {
        "objectives": {"helpful": 1.0, "safe": weight},
        **{f"{name}_pairs": 12 for name in ("helpful", "safe")},
        **{f"{name}_{what}{end}": value for name, value in (("helpful", one), ("safe", other))
           for what in ("accuracy", "margin") for end in ("", "_low", "_high")},
    }
    for weight, one, other in ((0.2, 0.9, 0.5), (1.0, 0.7, 0.8), (5.0, 0.4, 1.0))
]  # fmt: skip


def test_the_trade_off_of_three_weights_is_a_curve_and_a_table() -> None:
    drawn = curve(TRADED)
    assert drawn is not None
    assert [point.label for point in drawn.points] == ["1 : 5", "1 : 1", "1 : 0.2"]
    assert [point.y for point in drawn.points] == sorted(point.y for point in drawn.points)
    page = render(gate(), Contents(trade_off=TRADED))
    assert "helpful 1, safe 0.2" in page
    assert page.count('fill="var(--mark)"') == 3


def test_a_trade_off_without_two_ended_trainings_or_held_out_pairs_is_told_in_words() -> None:
    stopped = [{"objectives": {"helpful": 1.0, "safe": 9.0}, "stopped": "the model collapses at step 3"}]
    assert curve([*stopped, TRADED[0]]) is None
    assert "the model collapses at step 3" in render(gate(), Contents(trade_off=[*stopped, TRADED[0]]))
    bare = [{"objectives": {"helpful": 1.0, "safe": 1.0}}] * 2
    assert curve(bare) is None
    assert render(gate(), Contents(trade_off=bare)).count("no held-out pair") == 4


def test_both_sides_values_stand_beside_their_difference_and_a_single_number_alone() -> None:
    alone = {"kind": "floor", "method": "a single number", "n": 1, "candidate": 1.02, "champion": 1.0, "delta": 1.02}
    page = render(gate(line(candidate=3.21, champion=3.88), line(**alone)), Contents())
    assert "3.21 / 3.88" in page
    assert '<td class="n">1.02</td>' in page


@pytest.mark.parametrize(("heard", "times"), [(True, 0), (False, 1)])
def test_what_only_an_unheard_judge_measured_says_so(heard: bool, times: int) -> None:
    row = {"better": "higher", "n": 8, "missing": 0, "candidate": 3.2, "champion": 3.1, "difference": None}
    rows = [row | {"title": "Tone", "judged": True}, row | {"title": "Refusals", "judged": False}]
    facts = gate()
    facts["judge"]["heard"] = heard
    page = render(facts, Contents(benchmark=rows))
    assert page.count("by a judge that is not heard") == times


def test_texts_of_models_and_users_are_escaped() -> None:
    evil = "<script>alert('x')</script>"
    page = render(gate(reason=evil), Contents(comparisons=[comparison(-1.0, evil)]))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 2


def test_the_page_needs_nothing_from_elsewhere() -> None:
    page = render(gate(), Contents(comparisons=[comparison(0.5)]))
    assert not any(mark in page for mark in ("http://", "https://", "src=", "@import", "url("))


def test_the_same_input_gives_the_same_page() -> None:
    assert render(gate(), Contents(comparisons=[comparison(0.5)])) == render(
        gate(), Contents(comparisons=[comparison(0.5)])
    )


def test_a_missing_reply_is_shown_as_missing() -> None:
    assert "no answer" in render(gate(), Contents(comparisons=[comparison(None, "  ")]))


def test_the_worst_losses_come_first_and_the_unmeasured_last() -> None:
    shown = worst_first([comparison(None), comparison(0.4), comparison(-0.9), comparison(0.0)], 3)
    assert [one.gain for one in shown] == [-0.9, 0.0, 0.4]


def test_a_metric_of_which_less_is_better_is_drawn_turned_round() -> None:
    drawn = dial(line())
    assert drawn is not None
    assert drawn.zero is not None
    assert drawn.zero < drawn.low < drawn.mean < drawn.high


@given(
    st.floats(-9, 9), st.floats(0, 5), st.floats(0, 5), st.floats(0, 2), st.sampled_from(["floor", "non_inferiority"])
)
def test_every_mark_lies_within_the_picture(mean: float, down: float, up: float, margin: float, kind: str) -> None:
    drawn = dial(line(delta=mean, low=mean - down, high=mean + up, margin=margin, kind=kind))
    assert drawn is not None
    marks = [drawn.low, drawn.mean, drawn.high, drawn.limit] + ([] if drawn.zero is None else [drawn.zero])
    assert all(PADDING - 0.1 <= mark <= WIDTH - PADDING + 0.1 for mark in marks)
    assert drawn.low <= drawn.mean <= drawn.high


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0"), (0.12345, "0.123"), (12.0, "12"), (1234.5, "1,234"), (-0.5, "−0.5"), (0.0001, "<0.001")],
)
def test_numbers_are_short(value: float | None, text: str) -> None:
    assert number(value) == text


def graded(name: str, grade: float | None) -> dict[str, Any]:
    means = {"candidate": grade, "champion": grade, "win_rate": None}
    return {"category": name, "questions": 2, **means, "turns": [means]}


def test_what_is_open_says_what_would_settle_it_up_where_the_decision_stands() -> None:
    open_ = line(outcome="inconclusive", reason="neither is shown", more_questions=130)
    page = render(gate(open_, outcome="inconclusive"), Contents())
    assert page.index("some 130 more questions") < page.index('id="criteria"')


def test_a_radar_is_drawn_of_three_graded_categories_and_of_no_fewer() -> None:
    three = render(gate(), Contents(categories=[graded(name, 5.0) for name in ("math", "coding", "<b>")]))
    two = render(gate(), Contents(categories=[graded("math", 5.0), graded("coding", 5.0), graded("roleplay", None)]))
    assert 'class="candidate" points=' in three
    assert "<b>" not in three
    assert 'class="candidate" points=' not in two


def test_the_worst_losses_stand_open_and_the_many_others_unfold() -> None:
    page = render(gate(), Contents(comparisons=[comparison(-1.0, f"reply {n}") for n in range(20)]))
    assert page.index("reply 7") < page.index("<details>") < page.index("reply 8")
    assert "12 more" in page


def test_the_calls_that_were_saved_and_the_cost_are_said() -> None:
    page = render(gate(), Contents(preferred={"candidate": 2, "tie": 1, "champion": 0}))
    assert "3 of 8 questions: 20 calls saved" in " ".join(page.split())
    assert "1,200 tokens read" in page
    assert "the price is not known" in page


def test_where_data_comes_from_names_versions_and_what_was_turned_away() -> None:
    table = {"name": "conversations", "rows": 310, "version": 2, "fingerprint": "abc123"}
    data = [{"stage": "dedup", "tables": [table], "rejections": [("near_duplicate", 15)]}]
    models = [{"stage": "sft", "facts": [("steps", 40), ("format", "w8a8")]}]
    page = render(gate(), Contents(data=data, models=models))
    assert all(word in page for word in ("abc123", "15 near duplicate", "w8a8"))


@pytest.mark.slow
def test_the_page_fits_a_phone_and_a_desk_in_a_real_browser(tmp_path: Any) -> None:
    import shutil
    import subprocess

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    path = tmp_path / "dossier.html"
    wide = Contents(
        categories=[graded(name, 5.0) for name in ("math", "coding", "reasoning")],
        comparisons=[comparison(-1.0, "word " * 200)],
    )
    path.write_text(render(gate(), wide) + "<script>document.title = document.documentElement.scrollWidth</script>")
    for width in (500, 1280):
        command = [chromium, "--headless", "--no-sandbox", f"--window-size={width},900", "--dump-dom", path.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert int(done.stdout.split("<title>")[1].split("<")[0]) <= width
