"""People's verdicts beside the judge's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stages import judge as stage
from tests.fakes import fake_judge
from tests.stages.judged import fair, judged_by, prepare_many
from thumbwheel.errors import JudgeError, ParamsError
from thumbwheel.lake import read_pin


def people(root: Path, *winners: str, candidate: str = "candidate") -> None:
    (root / "data/human").mkdir(parents=True, exist_ok=True)
    row = {"set": "mt_bench", "candidate": candidate, "champion": "champion", "rater": "ana"}
    lines = [json.dumps(row | {"question": f"q{i:03}", "winner": winner}) for i, winner in enumerate(winners)]
    (root / "data/human/week.jsonl").write_text("\n".join(lines))


def test_peoples_verdicts_stand_beside_the_judges_and_stale_ones_are_counted(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_many(workspace, "GOOD", "poor", sequential=None, human_verdicts="data/human/week.jsonl")
    people(workspace, "candidate", "tie", "champion")
    with fake_judge(fair) as judge:
        rows = judged_by(judge, monkeypatch)
        assert [row["score"] for row in rows if row["kind"] == "human"] == [1.0, 0.5, 0.0]
        people(workspace, "candidate", candidate="last week")
        assert not [row for row in judged_by(judge, monkeypatch) if row["kind"] == "human"]
    assert read_pin("judge").rejections == {"other_bundles": 1}


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"human_verdicts": "data/human/week.jsonl"}, ParamsError, "exclude each other"),
        ({"human_verdicts": "/tmp/week.jsonl", "sequential": None}, JudgeError, "data/human, which DVC watches"),
        ({"human_verdicts": "data/human/week.jsonl", "sequential": None}, JudgeError, "not there"),
    ],
)
def test_people_who_cannot_be_heard_are_one_clear_line(
    workspace: Path, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    prepare_many(workspace, "GOOD", "poor", **changes)
    with pytest.raises(error, match=words):
        stage.main()


def test_verdicts_saved_by_a_spreadsheet_are_read_or_refused_in_one_line(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_many(workspace, "GOOD", "poor", sequential=None, human_verdicts="data/human/week.jsonl")
    people(workspace, "candidate", "tie")
    path = workspace / "data/human/week.jsonl"
    text = path.read_text()
    path.write_text(text, encoding="utf-8-sig")
    with fake_judge(fair) as judge:
        assert sum(row["kind"] == "human" for row in judged_by(judge, monkeypatch)) == 2
    path.write_text(text, encoding="utf-16")
    with pytest.raises(JudgeError, match="no text in UTF-8"):
        stage.main()
