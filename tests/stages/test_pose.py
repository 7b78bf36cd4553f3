"""Evaluation sets: each kind's rows, MT-Bench's own files, and the line that a faulty question is named by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.pose import QuestionSet, list_files, main, read_documents, read_set
from thumbwheel.errors import SourceError
from thumbwheel.lake import read_pinned


def write(root: Path, *rows: Any, name: str = "q.jsonl") -> None:
    (root / name).write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))


def question_set(kind: str, uri: str = "q.jsonl", references: str | None = None) -> QuestionSet:
    return QuestionSet.model_validate({"name": "set", "kind": kind, "uri": uri, "references": references})


MT = {"question_id": 81, "category": "writing", "turns": ["Write.", "Shorter."]}
QA = {"id": "q1", "category": "hub", "question": "Range?", "reference": "80 m", "documents": ["hub"]}
TRIAL = {"id": "t1", "category": "hub", "prompt": "Range?", "a": "80 m", "b": "8 m", "label": "a", "kind": "factual"}
LLMBAR = {"input": "Range?", "output_1": "80 m", "output_2": "8 m", "label": 2}
GOLDEN = {
    "id": "g1",
    "messages": [{"role": "user", "content": "Price?"}],
    "must_contain": ["59"],
    "must_not_contain": [],
}


def test_mt_bench_reads_its_own_question_file(workspace: Path) -> None:
    write(workspace, MT)
    (row,) = read_set(question_set("mt_bench"), {})
    assert (row["id"], row["turns"], row["reference"]) == ("81", ["Write.", "Shorter."], [])


def test_mt_bench_takes_its_reference_answers_from_their_own_file(workspace: Path) -> None:
    write(workspace, MT)
    write(workspace, {"question_id": 81, "choices": [{"turns": ["one", "two"]}]}, name="refs.jsonl")
    (row,) = read_set(question_set("mt_bench", references="refs.jsonl"), {})
    assert row["reference"] == ["one", "two"]


def test_a_reference_may_be_blank_for_a_turn_as_mt_bench_has_it(workspace: Path) -> None:
    write(workspace, {**MT, "reference": ["He may.", ""]})
    (row,) = read_set(question_set("mt_bench"), {})
    assert row["reference"] == ["He may.", ""]


def test_a_qa_question_brings_the_text_of_its_documents(workspace: Path) -> None:
    (workspace / "knowledge").mkdir()
    (workspace / "knowledge" / "hub.md").write_text('---\ntitle: "The Hub"\ntopic: hub\n---\n\n80 m in the open.\n')
    write(workspace, QA)
    (row,) = read_set(question_set("qa"), read_documents("knowledge"))
    assert row["context"] == ["The Hub\n\n80 m in the open."]
    assert row["reference"] == ["80 m"]


def test_a_golden_question_keeps_what_it_demands(workspace: Path) -> None:
    write(workspace, GOLDEN)
    (row,) = read_set(question_set("golden"), {})
    assert json.loads(row["label"]) == {"must_contain": ["59"], "must_not_contain": []}


@pytest.mark.parametrize("kind", ["jailbreak", "benign"])
def test_a_prompt_is_one_turn(workspace: Path, kind: str) -> None:
    write(workspace, {"id": "j1", "category": "malware", "prompt": "Do it."})
    (row,) = read_set(question_set(kind), {})
    assert (row["kind"], row["category"], row["turns"]) == (kind, "malware", ["Do it."])


def test_a_trial_pair_keeps_its_sides_and_verdict_by_the_trait_that_it_tries(workspace: Path) -> None:
    write(workspace, TRIAL)
    (row,) = read_set(question_set("trial"), {})
    assert (row["category"], row["a"], row["b"], row["label"]) == ("factual", "80 m", "8 m", "a")


def test_llmbar_is_a_trial(workspace: Path) -> None:
    (workspace / "Natural.json").write_text(json.dumps([LLMBAR]))
    (row,) = read_set(question_set("trial", "Natural.json"), {})
    assert (row["id"], row["turns"], row["label"]) == ("Natural-0", ["Range?"], "b")


@pytest.mark.parametrize(
    ("kind", "row", "says"),
    [
        ("mt_bench", {"question_id": 1, "category": "x"}, "missing key 'turns'"),
        ("mt_bench", {"question_id": 1, "category": "x", "turns": []}, "there is no turn"),
        ("mt_bench", {"question_id": 1, "category": "x", "turns": "text"}, "not a list of non-empty texts"),
        ("qa", QA, "there is no document 'hub'"),
        ("golden", {**GOLDEN, "must_contain": []}, "it demands nothing"),
        ("jailbreak", {"id": "j", "category": "c", "prompt": ""}, "not a list of non-empty texts"),
        ("trial", {**TRIAL, "label": "c"}, "label 'c' is none of a, b, tie"),
        ("benign", "{not json", "json"),
        ("benign", [1], "not an object"),
    ],
)
def test_a_faulty_question_is_named_by_file_and_line(workspace: Path, kind: str, row: Any, says: str) -> None:
    write(workspace, row)
    with pytest.raises(SourceError, match=rf"q.jsonl, line 1.*{says}"):
        read_set(question_set(kind), {})


def test_two_questions_with_one_id_are_refused(workspace: Path) -> None:
    write(workspace, MT, MT)
    with pytest.raises(SourceError, match=r"line 2.*id 81 stands there twice"):
        read_set(question_set("mt_bench"), {})


def test_an_empty_set_is_refused(workspace: Path) -> None:
    write(workspace)
    with pytest.raises(SourceError, match=r"question set 'set' .* is empty"):
        read_set(question_set("mt_bench"), {})


def test_the_files_of_a_qa_set_include_its_documents(workspace: Path) -> None:
    (workspace / "knowledge").mkdir()
    (workspace / "knowledge" / "hub.md").write_text("80 m")
    write(workspace, QA)
    assert [f["uri"] for f in list_files(question_set("qa"), "knowledge")] == ["q.jsonl", "knowledge/hub.md"]


def test_the_stage_writes_all_sets_into_one_table(workspace: Path) -> None:
    write(workspace, MT)
    write(workspace, TRIAL, name="t.jsonl")
    sets = [question_set("mt_bench").model_dump(), {**question_set("trial", "t.jsonl").model_dump(), "name": "trial"}]
    (workspace / "params.yaml").write_text(yaml.safe_dump({"pose": {"sets": sets, "knowledge": "knowledge"}}))
    main()
    assert [(q["set"], q["id"]) for q in read_pinned("pose", "questions").to_pylist()] == [
        ("set", "81"),
        ("trial", "t1"),
    ]
