"""Suites of lm-evaluation-harness run on local files alone, question by question, and refuse what is not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from eval import suites
from eval.criteria import metric_of
from eval.sentences import offer_sentences
from eval.suite_files import read_split
from eval.suites import Suite, draw, run_suites
from stages import benchmark
from tests.fakes import tiny_model
from tests.stages.test_benchmark import PARAMS
from thumbwheel.errors import GateError
from thumbwheel.settings import REPOSITORY, settings

LAW: dict[str, Any] = {
    "name": "law",
    "task": "mmlu_professional_law",
    "files": {"dev": "dev.csv", "test": "test.csv"},
    "questions": 3,
    "shots": 1,
    "measure": "acc,none",
    "chat": False,
}


def write_mmlu(folder: Path, count: int = 6) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("dev", "test"):
        lines = [f'"Is {split} {i}, so to speak, lawful?",yes,no,maybe,never,{"ABCD"[i % 4]}' for i in range(count)]
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.slow
def test_both_sides_are_asked_the_same_questions_and_the_gate_knows_the_metric(workspace: Path) -> None:
    write_mmlu(workspace / "data" / "suites")
    for name in ("served", "champion"):
        tiny_model(workspace / "models" / name)
    bundles = {"candidate": settings().models / "served", "champion": settings().models / "champion"}
    params = PARAMS.model_copy(update={"suites": [Suite(**LAW), Suite(**LAW | {"name": "chatted", "chat": True})]})
    rows = benchmark.suites(bundles, params)
    asked = {
        side: [row["question"] for row in rows if (row["metric"], row["side"]) == ("suite_law", side)]
        for side in bundles
    }
    assert asked["candidate"] == asked["champion"] == [str(i) for i in draw(6, 3, f"{PARAMS.seed}:law")]
    assert all(row["value"] in (0.0, 1.0) and row["error"] is None for row in rows)
    assert {row["metric"] for row in rows} == {"suite_law", "suite_chatted"}
    assert metric_of("suite_law").higher_is_better


@pytest.mark.slow
def test_a_score_is_one_exactly_where_the_likeliest_letter_is_the_right_one(tmp_path: Path) -> None:
    import torch

    from eval.perplexity import load

    write_mmlu(tmp_path)
    tiny_model(tmp_path / "model")
    found = run_suites(tmp_path / "model", [Suite(**LAW | {"shots": 0, "questions": 6})], tmp_path, 1, 2)
    model, tokenizer = load(tmp_path / "model")
    letters = [tokenizer(f" {letter}", add_special_tokens=False)["input_ids"] for letter in "ABCD"]
    for score in found:
        row = read_split("mmlu_x", tmp_path / "test.csv")[int(score.question)]
        text = "The following are multiple choice questions (with answers) about professional law.\n\n"
        text += f"{row['question']}\nA. yes\nB. no\nC. maybe\nD. never\nAnswer:"
        prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
        told = []
        for letter in letters:
            with torch.inference_mode():
                logs = model(torch.tensor([prompt + letter])).logits[0].log_softmax(-1)
            told.append(sum(float(logs[len(prompt) - 1 + i, token]) for i, token in enumerate(letter)))
        assert score.value == float(told.index(max(told)) == row["answer"])


@given(available=st.integers(0, 60), wanted=st.integers(1, 60), more=st.integers(0, 60))
def test_a_longer_draw_holds_every_shorter_one(available: int, wanted: int, more: int) -> None:
    short, long = draw(available, wanted, "k"), draw(available, wanted + more, "k")
    assert set(short) <= set(long)
    assert len(short) == min(available, wanted)
    assert short == sorted(set(short))


def test_a_task_that_the_harness_does_not_know_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"no task 'mmlu_profesional_law', did you mean 'mmlu_professional_law'"):
        suites.make_task(Suite(**LAW | {"task": "mmlu_profesional_law"}), tmp_path, tmp_path)


def test_a_split_that_the_task_needs_and_the_files_lack_is_named(tmp_path: Path) -> None:
    write_mmlu(tmp_path)
    with pytest.raises(GateError, match=r"needs a split that files lacks \(it has dev\)"):
        suites.make_task(Suite(**LAW | {"files": {"dev": "dev.csv"}}), tmp_path, tmp_path / "scratch")


def test_a_measure_that_the_task_does_not_report_is_answered_with_those_that_it_does() -> None:
    samples = [{"doc_id": 1, "filter": "none", "metrics": ["acc"], "acc": 1.0}]
    with pytest.raises(GateError, match=r"no measure 'f1,none'; there are \['acc,none'\]"):
        suites.scores(Suite(**LAW | {"measure": "f1,none"}), samples, [1])


def test_a_question_that_the_harness_lost_is_an_error_and_no_score() -> None:
    samples = [{"doc_id": 1, "filter": "none", "metrics": ["acc"], "acc": 1.0}]
    found = suites.scores(Suite(**LAW), samples, [1, 2])
    assert [(one.question, one.value, one.error is None) for one in found] == [("1", 1.0, True), ("2", None, False)]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("none.jsonl", None, "is missing"),
        ("empty.jsonl", "", "has no rows"),
        ("broken.jsonl", '{"question": ', "cannot be read"),
        ("list.json", "[1, 2]", "not a list of objects"),
        ("five.csv", "question,a,b,c,A\n", "3 choices where four are expected"),
        ("letter.csv", "question,a,b,c,d,E\n", "cannot be read"),
    ],
)
def test_a_file_that_is_no_suite_is_one_clear_error(tmp_path: Path, name: str, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(GateError, match=said):
        read_split("mmlu_law", tmp_path / name)


def test_the_right_choice_of_truthfulqa_comes_first_as_its_task_expects(tmp_path: Path) -> None:
    targets = {"no": 0, "yes": 1, "never": 0}
    rows = [{"question": "Is it?", "mc1_targets": targets, "mc2_targets": targets}]
    (tmp_path / "mc_task.json").write_text(json.dumps(rows))
    (row,) = read_split("truthfulqa_mc1", tmp_path / "mc_task.json")
    assert row["mc1_targets"] == {"choices": ["yes", "no", "never"], "labels": [1, 0, 0]}


def test_the_suites_that_the_page_shows_are_suites() -> None:
    page = (REPOSITORY / "data" / "suites" / "README.md").read_text()
    shown = [Suite.model_validate(one) for one in yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])["suites"]]
    assert {one.task for one in shown if one.programs} == {"humaneval_instruct"}
    assert len(shown) == 4


IFEVAL: dict[str, Any] = LAW | {
    "name": "instructions",
    "task": "ifeval",
    "files": {"train": "prompts.jsonl"},
    "shots": 0,
    "measure": "prompt_level_strict_acc,none",
}
INSTRUCTED = [
    {"key": 1, "prompt": "Say it in two sentences.", "instruction_id_list": ["length_constraints:number_sentences"],
     "kwargs": [{"relation": "less than", "num_sentences": 3}]},
    {"key": 2, "prompt": "No commas, at least four words.",
     "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
     "kwargs": [{}, {"relation": "at least", "num_words": 4}]},
    {"key": 3, "prompt": "Answer in German.", "instruction_id_list": ["language:response_language"],
     "kwargs": [{"language": "de"}]},
    {"key": 4, "prompt": "SHOUT.", "instruction_id_list": ["change_case:english_capital"], "kwargs": [{}]},
]  # fmt: skip


@pytest.fixture(scope="module")
def instructions(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """IFEval's task on prompts of our own, in its file format."""
    place = tmp_path_factory.mktemp("ifeval")
    (place / "prompts.jsonl").write_text("\n".join(map(json.dumps, INSTRUCTED)) + "\n")
    return suites.make_task(Suite(**IFEVAL), place, place / "scratch")


@pytest.mark.parametrize(
    ("prompt", "answer", "strict", "loose"),
    [
        (0, "Mr. Smith left at 5 p.m. on Monday. He came back.", [True], [True]),  # abbreviations end no sentence
        (0, "Here it is. In short.\nOne. Two.", [False], [True]),  # loosely, the first line may be left out
        (0, "One. Two. Three.", [False], [False]),
        (1, "No commas stand here at all", [True, True], [True, True]),
        (1, "Well, no", [False, False], [False, False]),
        (2, "Das ist ein deutscher Satz, den jeder versteht.", [True], [True]),
        (2, "This is an English sentence that everybody understands.", [False], [False]),
        (3, "THIS IS AN ENGLISH SENTENCE IN CAPITALS", [True], [True]),
    ],
)
def test_answers_are_checked_by_ifeval_s_own_checker_without_a_network(
    instructions: Any, prompt: int, answer: str, strict: list[bool], loose: list[bool]
) -> None:
    doc = instructions.eval_docs[prompt]
    assert instructions.doc_to_text(doc) == INSTRUCTED[prompt]["prompt"]
    found = instructions.process_results(doc, [answer])
    assert (found["inst_level_strict_acc"], found["inst_level_loose_acc"]) == (strict, loose)
    assert found["prompt_level_strict_acc"] == all(strict)


def test_an_instruction_s_share_is_the_score_of_a_prompt_with_several() -> None:
    samples = [{"doc_id": 1, "filter": "none", "metrics": ["x"], "x": [True, False]}]
    assert suites.scores(Suite(**IFEVAL | {"measure": "x,none"}), samples, [1])[0].value == 0.5


def test_prompts_without_any_argument_are_read(tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text(json.dumps(INSTRUCTED[3]) + "\n")
    task = suites.make_task(Suite(**IFEVAL), tmp_path, tmp_path / "scratch")
    assert task.process_results(task.eval_docs[0], ["THIS IS AN ENGLISH SENTENCE IN CAPITALS"])[
        "prompt_level_strict_acc"
    ]


def test_sentences_end_where_nltk_s_own_model_ends_them(tmp_path: Path) -> None:
    import nltk

    offer_sentences(tmp_path)
    text = "Dr. Who met the U.S. president. He was late! J. Doe Inc. fell by 3.5 percent. Fig. 2 shows it."
    assert nltk.sent_tokenize(text) == [
        "Dr. Who met the U.S. president.", "He was late!", "J. Doe Inc. fell by 3.5 percent.", "Fig.", "2 shows it.",
    ]  # fmt: skip


SCIENCE = {
    "question": "What falls?",
    "choices": {"text": ["a stone", "the sky"], "label": ["A", "B"]},
    "answerKey": "A",
}
PUBLISHED = [{"text": "a stone", "label": "A"}, {"text": "the sky", "label": "B"}]
WORDED = "Please choose, to the question: What falls?\n\nAnswer1: a stone Answer2: the sky\n\nAnswer format: answer1/…"


@pytest.mark.parametrize(
    ("row", "label"),
    [
        (SCIENCE, "A"),
        ({"id": "1", "question": {"stem": "What falls?", "choices": PUBLISHED}, "answerKey": "A"}, "A"),
        ({"instruction": WORDED, "input": "", "output": "…", "answer": "answer1"}, "1"),
    ],
)
def test_arc_is_read_in_each_of_the_forms_it_is_published_in(tmp_path: Path, row: dict[str, Any], label: str) -> None:
    (tmp_path / "arc.jsonl").write_text(json.dumps(row) + "\n")
    (read,) = read_split("arc_easy", tmp_path / "arc.jsonl")
    assert (read["question"], read["choices"]["text"], read["answerKey"]) == (
        "What falls?",
        ["a stone", "the sky"],
        label,
    )
    arc = LAW | {"name": "arc", "task": "arc_easy", "files": {"test": "arc.jsonl"}, "shots": 0}
    task = suites.make_task(Suite(**arc), tmp_path, tmp_path / "scratch")
    assert (task.doc_to_text(task.eval_docs[0]), task.doc_to_target(task.eval_docs[0])) == (
        "Question: What falls?\nAnswer:",
        0,
    )


def test_an_answer_that_is_no_choice_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "arc.jsonl").write_text(json.dumps(SCIENCE | {"answerKey": "C"}) + "\n")
    with pytest.raises(GateError, match="the right answer 'C' is not among"):
        read_split("arc_easy", tmp_path / "arc.jsonl")
