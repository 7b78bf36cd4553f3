"""A turn does not begin with parameters that a later stage would refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import preflight
from stages.observe import override
from tests.stages.test_ingest import SOURCE
from thumbwheel.errors import ParamsError
from thumbwheel.params import read_params
from thumbwheel.settings import REPOSITORY, settings

SHIPPED = REPOSITORY / "params.yaml"


def written(folder: Path, **changes: Any) -> Path:
    """Write the shipped parameters with some values in the place of theirs."""
    sections = read_params(SHIPPED)
    override(sections, changes)
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(sections))
    return path


def test_what_is_shipped_can_be_used_and_every_section_of_it_is_read() -> None:
    preflight.check(SHIPPED)
    assert set(read_params(SHIPPED)) == set(preflight.SECTIONS)


def test_all_faults_of_all_sections_are_said_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, sft={"lora": {"r": 0}}, gate={"alpha": 0.7}, judge={"concurrency": 0})
    with pytest.raises(ParamsError, match=r"sft\.lora\.r.*judge\.concurrency.*gate\.alpha"):
        preflight.check(path)


def test_a_section_that_no_stage_reads_is_named_with_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text() + "gates: {}\n")
    with pytest.raises(ParamsError, match=r"unknown section 'gates'; did you mean 'gate'\?"):
        preflight.check(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"judge": {"pairwise_sets": ["mt_bnch"]}}, "judge.pairwise_sets names 'mt_bnch', which answer.sets"),
        ({"judge": {"single_sets": ["trial"]}}, "judge.single_sets names 'trial', which answer.sets"),
        ({"judge": {"trial_set": "trail"}}, "judge.trial_set names 'trail', which pose.sets"),
        ({"judge": {"rubric": {"sets": ["qa"], "rubrics": [], "max_questions": 0}}}, "judge.rubric.sets names 'qa'"),
        ({"judge": {"rubric": {"rubrics": ["faithfullness"]}}}, "judge.rubric.rubrics.0' = 'faithfullness'"),
        ({"judge": {"sequential": {"alpha": 0.04}}}, r"judge.sequential.alpha is 0.04, more than .* \(0.025\)"),
        ({"enqueue": {"sets": ["trial"]}}, "enqueue.sets names 'trial'"),
        ({"judge": {"single_sets": []}}, "gate criterion 'mt_bench' needs 'mt_bench_single', which nothing"),
        ({"benchmark": {"jailbreak_set": "jailbrek"}}, "gate criterion 'jailbreak' needs 'jailbreak_refusal', which"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused_before_anything_is_trained(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ParamsError, match=words):
        preflight.check(written(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ingest": {"max_characters": 0}}, "ingest.max_characters"),
        ({"ingest": {"language": {"min_confidence": 1.5}}}, "ingest.language.min_confidence"),
        ({"ingest": {"sources": [{**SOURCE, "columns": {"promt": "q"}}]}}, "did you mean 'prompt'"),
        ({"dedup": {"threshold": 80}}, "dedup.threshold' = 80"),
        ({"dedup": {"semantic": 95}}, "dedup.semantic' = 95"),
        ({"scrub": {"regions": ["US", "UK"]}}, "scrub.regions': .*no country has the code UK"),
        ({"scrub": {"allow": ["[a-z"]}}, "scrub.allow': .*'\\[a-z' is no regular expression"),
        ({"scrub": {"kinds": {"email": "pseudonym"}}}, "THUMBWHEEL_PSEUDONYM_KEY is not set"),
        ({"dedup": {"index": "redis"}}, "THUMBWHEEL_REDIS_URL is not set"),
        ({"grade": {"shown": -1}}, "grade.shown"),
        ({"grade": {"scores": {"unlikely_share": 5}}}, "grade.scores.unlikely_share"),
        ({"grade": {"judge": {"min_grade": 40}}}, "grade.judge.min_grade"),
        ({"split": {"test": 20}}, "split.test' = 20"),
        ({"split": {"validation": 0.6, "test": 0.5}}, "validation 0.6 and test 0.5 leave nothing to learn from"),
        ({"split": {"always_train": ["edits"]}}, "split.always_train.0' = 'edits'"),
        ({"split": {"dtype": "bf16"}}, "split.dtype' = 'bf16'"),
        ({"split": {"clusters": 0}}, "split.clusters"),
        ({"split": {"leak_words": 0}}, "split.leak_words"),
        ({"split": {"leak_cosine": 90}}, "split.leak_cosine"),
        ({"split": {"near_jaccard": 0}}, "split.near_jaccard"),
        ({"describe": {"shown_characters": 0}}, "describe.shown_characters"),
        ({"index": {"dtype": "bf16"}}, "index.dtype' = 'bf16'"),
    ],
)
def test_a_value_that_the_data_half_cannot_mean_is_refused_before_a_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], words: str
) -> None:
    for name in ("THUMBWHEEL_PSEUDONYM_KEY", "THUMBWHEEL_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    settings.cache_clear()
    with pytest.raises(ParamsError, match=words):
        preflight.check(written(tmp_path, **changes))


@pytest.mark.parametrize("metric", ["suite_law", "toxicity_law", "rubric_tone", "qa_faithfulness"])
def test_a_criterion_on_what_is_switched_off_is_refused(tmp_path: Path, metric: str) -> None:
    criterion = {"name": "more", "metric": metric, "kind": "non_inferiority", "margin": 0.1, "required": True}
    changes: dict[str, Any] = {"gate": {"criteria": [*read_params(SHIPPED)["gate"]["criteria"], criterion]}}
    changes["judge"] = {"rubric": {"rubrics": ["relevance"]}}
    with pytest.raises(ParamsError, match=f"gate criterion 'more' needs '{metric}', which nothing here measures"):
        preflight.check(written(tmp_path, **changes))


def test_a_criterion_on_a_set_that_is_asked_is_accepted_and_a_judge_needs_no_trial_set(tmp_path: Path) -> None:
    criterion = {
        "name": "calm",
        "metric": "toxicity_benign",
        "kind": "non_inferiority",
        "margin": 0.1,
        "required": True,
    }
    criteria = [*read_params(SHIPPED)["gate"]["criteria"], criterion]
    preflight.check(written(tmp_path, gate={"criteria": criteria}, judge={"trial_set": None}))
