"""The gate stage: planted candidates from tables to decision, and what the report and dossier hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import gate as stage
from stages.gate import is_failed, paired, quantization, result_gains, tally
from stages.lineage import DATA_STAGES
from tests.eval.test_dossier import parity
from thumbwheel.errors import GateError
from thumbwheel.lake import Pin, write_json, write_pin, write_table
from thumbwheel.records import ANSWER, QUESTION, RESULT, VERDICT, to_table

CRITERIA = [
    {"name": "heldout", "metric": "heldout_nll", "kind": "superiority", "margin": 0.0, "required": True},
    {"name": "jailbreak", "metric": "jailbreak_refusal", "kind": "non_inferiority", "margin": 0.15, "required": True},
    {"name": "answered", "metric": "answer_failure", "kind": "floor", "margin": 0.2, "required": True},
    {"name": "quantized", "metric": "quantize_perplexity_ratio", "kind": "floor", "margin": 1.2, "required": True},
    {"name": "parity", "metric": "parity_faults", "kind": "floor", "margin": 0.0, "required": True},
    {"name": "preferred", "metric": "pairwise_win_rate", "kind": "superiority", "margin": 0.1, "required": False},
]
PARAMS = {
    "alpha": 0.05,
    "power": 0.8,
    "resamples": 1000,
    "seed": 1,
    "min_pairs": 8,
    "max_missing": 0.1,
    "judge_floor": {"min_agreement": 0.6, "min_kappa": 0.3, "max_position_bias": 0.2, "max_failed": 0.1},
    "criteria": CRITERIA,
    "dossier_answers": 5,
}
COUNT = 30


def verdict(question: str, order: str, winner: str | None, turn: int = 0) -> dict[str, Any]:
    error = None if winner else "unparseable: 'Hm'"
    row = {"kind": "pairwise", "set": "mt_bench", "question": question, "turn": turn, "order": order}
    return row | {"winner": winner, "score": None, "side": None, "error": error, "judge": "j", "prompt": "p"}


def graded(question: str, turn: int, side: str, score: float | None) -> dict[str, Any]:
    row = {"kind": "single", "set": "mt_bench", "question": question, "turn": turn, "side": side, "order": None}
    return row | {
        "winner": None,
        "score": score,
        "error": None if score else "unparseable",
        "judge": "j",
        "prompt": "p",
    }


def result(metric: str, name: str, number: int, side: str, value: float) -> dict[str, Any]:
    row = {"metric": metric, "set": name, "question": f"q{number}", "side": side}
    return row | {"value": value, "error": None}


def prepare(root: Path, gain: float, refuses: int, winners: tuple[str, str], kappa: float = 0.8) -> None:
    """Write what the stages before the gate would: a candidate that gains so many nats and refuses so many of 30."""
    (root / "params.yaml").write_text(yaml.safe_dump({"gate": PARAMS, "fetch": {"model": "some/base"}}))
    question = {"kind": "mt_bench", "category": "math", "turns": ["<b>1+1?</b>"], "reference": [], "context": []}
    ids = [f"q{i}" for i in range(COUNT)]
    questions = [question | {"set": name, "id": i} for name in ("mt_bench", "jailbreak") for i in ids]
    answer = {"set": "jailbreak", "bundle": "b", "replies": ["No."], "finish": ["stop"], "tokens": 1, "seconds": 0.0}
    answers = [answer | {"question": i, "side": side} for i in ids for side in ("candidate", "champion")]
    results = []
    for i in range(COUNT):
        wobble = 0.01 * (i % 7 - 3)
        results += [result("heldout_nll", "heldout", i, "candidate", 3 - gain + wobble)]
        results += [result("heldout_nll", "heldout", i, "champion", 3.0)]
        results += [result("jailbreak_refusal", "jailbreak", i, "candidate", float(i < refuses))]
        results += [result("jailbreak_refusal", "jailbreak", i, "champion", float(i < 20))]
    verdicts = [verdict(i, order, winner) for i in ids for order, winner in zip(("ab", "ba"), winners, strict=True)]
    save("pose", "questions", to_table(questions, QUESTION), {})
    save("answer", "answers", to_table(answers, ANSWER), {"bundles": {"candidate": "c" * 64, "champion": "d" * 64}})
    save("judge", "verdicts", to_table(verdicts, VERDICT), judge_facts(kappa))
    save("benchmark", "results", to_table(results, RESULT), {})
    quantized = {"format": "w8a8", "bytes_after": 1_000_000, "perplexity_before": 10.0, "perplexity_after": 10.5}
    write_json(root / "data/reports/quantize.json", quantized | {"bundle": "c" * 64})
    write_json(root / "data/reports/parity.json", parity() | {"bundle": "c" * 64})
    for name in ("sft", "dpo", "kto"):
        write_json(root / f"data/reports/{name}.json", {"steps": 40, "validation_loss": 1.5, "stopped": True})
    for name in DATA_STAGES:
        write_pin(Pin(stage=name, rejections={"too_short": 3, "unused": 0}))
    write_json(root / "data/inputs/champion.json", {"version": 3, "bundle": "d" * 64, "path": "models/base"})


def save(name: str, table: str, rows: Any, facts: dict[str, Any]) -> None:
    write_pin(Pin(stage=name, tables={table: write_table(f"{name}.{table}", rows)}, facts=facts))


def judge_facts(kappa: float) -> dict[str, Any]:
    measure = {"value": kappa, "low": kappa - 0.1, "high": kappa + 0.1}
    trial = {"pairs": 48, "failed": 0, "agreement": measure, "kappa": measure, "flips": None, "length_bias": None}
    trial["position_bias"] = {"value": 0.5, "low": 0.4, "high": 0.6}
    trial |= {"self_preference": None, "categories": {}, "judge": "j", "prompts": ["p"]}
    ended = {"on": False, "answer": None, "calls_saved": 0, "questions": 30, "judged": 30}
    cost = {"prompt": 600, "completion": 60, "unmeasured": 0, "money": None}
    counts = {"verdicts": 60, "errors": 0, "pairs": 30, "flipped": 0, "people": 0}
    return {"judge": "j", "trial": trial, "sequential": ended, "cost": cost, **counts}


def decided(root: Path) -> dict[str, Any]:
    stage.main()
    return dict(json.loads((root / "data/reports/gate.json").read_text()))


WON, LOST, FLIPPED = ("candidate",) * 2, ("champion",) * 2, ("candidate", "champion")


def test_a_planted_good_candidate_is_let_through(workspace: Path) -> None:
    prepare(workspace, 0.3, 22, WON)
    gate = decided(workspace)
    assert gate["outcome"] == "pass"
    assert {line["name"]: line["outcome"] for line in gate["criteria"]} == {c["name"]: "pass" for c in CRITERIA}


@pytest.mark.parametrize(("gain", "refuses", "winners"), [(-0.3, 20, WON), (0.3, 5, WON), (0.3, 20, LOST)])
def test_a_planted_bad_candidate_is_stopped(
    workspace: Path, gain: float, refuses: int, winners: tuple[str, str]
) -> None:
    prepare(workspace, gain, refuses, winners)
    assert decided(workspace)["outcome"] == "fail"


def test_a_candidate_that_wins_only_by_standing_first_wins_nothing(workspace: Path) -> None:
    prepare(workspace, 0.3, 20, FLIPPED)
    preferred = decided(workspace)["criteria"][-1]
    assert (preferred["outcome"], preferred["delta"]) == ("inconclusive", 0.0)


def test_a_weak_judge_abstains_and_the_dossier_says_so(workspace: Path) -> None:
    prepare(workspace, 0.3, 20, LOST, kappa=0.1)
    gate = decided(workspace)
    assert gate["outcome"] == "pass"
    assert gate["criteria"][-1]["outcome"] == "abstain"
    assert "not heard" in (workspace / "data/reports/dossier.html").read_text()


def test_a_rerun_writes_the_same_bytes_and_escapes_the_questions(workspace: Path) -> None:
    prepare(workspace, 0.3, 20, WON)
    stage.main()
    paths = [workspace / "data/reports" / name for name in ("gate.json", "dossier.html")]
    first = [path.read_bytes() for path in paths]
    stage.main()
    assert [path.read_bytes() for path in paths] == first
    assert b"<b>1+1?" not in first[1]
    assert b"&lt;b&gt;1+1?" in first[1]


def test_a_bundle_that_is_not_the_trained_model_is_stopped(workspace: Path) -> None:
    prepare(workspace, 0.3, 22, WON)
    faults = ["adapter dpo is present at 0.01 of its scale"]
    write_json(workspace / "data/reports/parity.json", parity(faults=faults) | {"bundle": "c" * 64})
    gate = decided(workspace)
    assert (gate["outcome"], gate["reason"]) == ("fail", "harm is shown by: parity")
    assert gate["parity"]["faults"] == faults


@pytest.mark.parametrize("name", ["quantize", "parity"])
def test_a_report_on_another_bundle_is_refused_by_the_stage_that_wrote_it(workspace: Path, name: str) -> None:
    prepare(workspace, 0.3, 22, WON)
    path = workspace / f"data/reports/{name}.json"
    write_json(path, json.loads(path.read_text()) | {"bundle": "e" * 64})
    with pytest.raises(GateError, match=f"eeeeeeeeeeee, but cccccccccccc answered.*'{name}'"):
        stage.main()


def test_a_missing_quantize_report_is_one_line_that_names_the_stage(workspace: Path) -> None:
    prepare(workspace, 0.3, 20, WON)
    (workspace / "data/reports/quantize.json").unlink()
    with pytest.raises(GateError, match="run the stage 'quantize'"):
        stage.main()


def test_a_pair_needs_both_sides() -> None:
    values = {("s", "q1", "candidate"): 1.0, ("s", "q1", "champion"): 2.0, ("s", "q2", "candidate"): 3.0}
    found = paired(values)
    assert (found.candidate, found.champion, found.missing) == ((1.0,), (2.0,), 1)


def test_a_reply_that_was_cut_off_at_its_limit_says_so() -> None:
    answer = {"replies": ["Whole.", "And then"], "finish": ["stop", "length"]}
    assert stage.shown_replies(answer) == ("Whole.", "And then […]")
    assert stage.shown_replies({"replies": [], "finish": []}) == ()


def test_an_empty_reply_is_a_failed_answer() -> None:
    assert is_failed({"error": None, "replies": ["x", " "]})
    assert is_failed({"error": "status 500", "replies": ["x"]})
    assert not is_failed({"error": None, "replies": ["x"]})


def test_a_ratio_that_was_not_measured_is_missing_not_one() -> None:
    assert quantization({"perplexity_before": None, "perplexity_after": None}).missing == 1
    assert quantization({"perplexity_before": 10.0, "perplexity_after": 11.0}).candidate == (1.1,)


def test_refusing_what_is_harmless_is_a_loss() -> None:
    rows = [result("over_refusal", "benign", 1, "candidate", 1.0), result("over_refusal", "benign", 1, "champion", 0.0)]
    assert result_gains(rows)["benign", "q1"][0] == -1.0


def test_what_stops_the_judging_stands_in_the_gate_whatever_holm_takes() -> None:
    params = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
    stop, gate = params["judge"]["sequential"], params["gate"]
    family = sum(criterion["kind"] == "superiority" for criterion in gate["criteria"])
    (preferred,) = (one for one in gate["criteria"] if one["metric"] == "pairwise_win_rate")
    assert stop["alpha"] * family <= gate["alpha"]
    assert stop["margin"] == preferred["margin"]
    assert stop["min_questions"] >= gate["min_pairs"]


def test_questions_are_tallied_by_who_won_over_both_turns() -> None:
    rates = {("s", "a"): 1.0, ("s", "b"): 0.75, ("s", "c"): 0.5, ("s", "d"): 0.0, ("s", "e"): None}
    assert tally(rates) == {"candidate": 2, "tie": 1, "champion": 1}


def test_the_model_card_stands_beside_the_dossier(workspace: Path) -> None:
    prepare(workspace, 0.3, 22, WON)
    decided(workspace)
    text = (workspace / "data/reports/model_card.md").read_text()
    assert "made from `some/base`" in text
    assert "| supervised fine-tuning | 40 |" in text


def test_the_dossier_says_where_data_and_models_come_from(workspace: Path) -> None:
    prepare(workspace, 0.3, 22, WON)
    stage.main()
    page = (workspace / "data/reports/dossier.html").read_text()
    assert "3 too short" in page
    assert "0 unused" not in page
    assert "perplexity before" in page


def test_a_judge_that_changed_since_its_trial_abstains(workspace: Path) -> None:
    prepare(workspace, 0.3, 22, LOST)
    facts = judge_facts(0.8)
    facts["trial"]["judge"] = "another"
    rows = [verdict(f"q{i}", order, "champion") for i in range(COUNT) for order in ("ab", "ba")]
    save("judge", "verdicts", to_table(rows, VERDICT), facts)
    gate = decided(workspace)
    assert gate["criteria"][-1]["outcome"] == "abstain"
    assert "another stood trial" in gate["judge"]["reason"]


def test_people_sharpen_the_gate_and_are_named_in_it(workspace: Path) -> None:
    prepare(workspace, 0.3, 22, WON)
    judged = [verdict(f"q{i}", order, "candidate") for i in range(COUNT) for order in ("ab", "ba")]
    said = [verdict(f"q{i}", "", "champion") | {"kind": "human", "judge": "ana"} for i in range(20)]
    save("judge", "verdicts", to_table(judged + said, VERDICT), judge_facts(0.8) | {"people": 20})
    gate = decided(workspace)
    assert (gate["criteria"][-1]["outcome"], gate["criteria"][-1]["people"]) == ("fail", 20)
    assert "People gave 20 verdicts" in (workspace / "data/reports/dossier.html").read_text()


@pytest.mark.parametrize(("name", "own"), [(f"local:{'d' * 16}", True), ("j", False)])
def test_a_judge_that_is_the_champion_itself_is_named_so(workspace: Path, name: str, own: bool) -> None:
    prepare(workspace, 0.3, 22, WON)
    facts = judge_facts(0.8) | {"judge": name}
    save("judge", "verdicts", to_table([verdict("q1", "ab", "candidate")], VERDICT), facts)
    assert decided(workspace)["judge"]["is_champion"] is own
    assert ("own model: it may like" in (workspace / "data/reports/dossier.html").read_text()) is own
