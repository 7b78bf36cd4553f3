"""What a turn says at its end."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from thumbwheel import summary
from thumbwheel.lake import Pin, write_json, write_pin
from thumbwheel.release import Release, write_release
from thumbwheel.scheduler import TaskState
from thumbwheel.settings import settings

START = datetime(2026, 1, 1)
TASKS = [
    TaskState("sft", "success", START, START + timedelta(seconds=12.34)),
    TaskState("dpo", "skipped", START, START),
    TaskState("gate", None, None, None),
]
RELEASE = Release(version=1, bundle="b1", bento="t:1", bento_model="m:1", path="p", approved_by="Ada")


@pytest.fixture
def turned(workspace: Path) -> Path:
    """A root after a turn."""
    (workspace / "dvc.yaml").write_text("stages:\n  ingest: {cmd: a, outs: [x]}\n  dedup: {cmd: b, deps: [x]}\n")
    write_pin(Pin(stage="ingest", rejections={"json": 3, "schema": 0}))
    write_json(settings().reports / "sft.json", {"final_loss": 1.23456, "curve": [1, 2], "bf16": True})
    write_json(settings().reports / "gate.json", {"outcome": "inconclusive", "reason": "few questions", "criteria": []})
    return workspace


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    summary.show("run-1", TASKS, 61.2, 3 * 2**30)
    return capsys.readouterr().out


def test_rejections_are_shown_by_reason_and_zeros_are_not(turned: Path) -> None:
    assert list(summary.turned_away()) == [("ingest", "json", "3")]


def test_the_ends_of_the_curves_are_the_numbers_of_the_reports(turned: Path) -> None:
    assert summary.training() == [("stage", "measure", "value"), ("sft", "final_loss", "1.235")]


def test_a_task_that_had_no_turn_has_no_time(turned: Path) -> None:
    assert summary.times(TASKS) == [("sft", "success", "12.3"), ("dpo", "skipped", "0.0")]


def test_the_summary_is_plain_where_there_is_no_terminal(turned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = shown(capsys)
    assert output.isascii()
    assert "took 61 s, peak memory 3.0 GiB" in output
    assert "released: nothing yet" in output
    assert "chat:" not in output


def test_the_summary_names_who_approved(turned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_release(RELEASE)
    output = shown(capsys)
    assert "released: version 1 (t:1), approved by Ada" in output
    assert "chat:     http://127.0.0.1:3000" in output


def test_a_candidate_that_was_not_released_is_named_with_the_reason(
    turned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_release(RELEASE)
    write_json(settings().reports / "gate.json", {"outcome": "fail"})
    write_pin(Pin(stage="package", facts={"version": 2, "bundle": "b2", "bento": "t:2"}))
    output = shown(capsys)
    assert "not released: version 2; the gate failed the candidate: the champion stays" in output


def test_a_turn_that_stopped_early_still_has_a_summary(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace / "dvc.yaml").write_text("stages: {}\n")
    assert "took 61 s" in shown(capsys)
