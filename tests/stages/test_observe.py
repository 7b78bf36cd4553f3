"""The look at the outside world."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages import collect, observe
from thumbwheel.errors import JudgeError, ParamsError
from thumbwheel.graph import load_graph
from thumbwheel.lake import TablePin
from thumbwheel.settings import REPOSITORY, settings

PARAMS = "# results\nsft:\n  epochs: 1   # times over the data\n  rates: [1, 2]\ndpo: {beta: 0.1}\n"


def test_a_file_is_written_only_where_its_content_changed(tmp_path: Path) -> None:
    path = tmp_path / "inputs.json"
    assert observe.write_changed(path, {"files": [1]})
    before = path.stat().st_mtime_ns
    assert not observe.write_changed(path, {"files": [1]})
    assert path.stat().st_mtime_ns == before
    assert observe.write_changed(path, {"files": [2]})


def test_a_damaged_file_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "inputs.json"
    path.write_text("{")
    assert observe.write_changed(path, {"files": []})
    assert json.loads(path.read_text()) == {"files": []}


def test_an_override_sets_its_key_and_keeps_the_comments(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS)
    observe.apply_overrides(path, {"sft": {"epochs": 3}})
    text = path.read_text()
    assert "epochs: 3" in text
    assert "# times over the data" in text
    assert "beta: 0.1" in text


@pytest.mark.parametrize("changes", [{"sfd": {}}, {"sft": {"epoch": 3}}])
def test_an_override_of_an_unknown_key_is_refused_and_nothing_is_written(tmp_path: Path, changes: dict) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS)
    with pytest.raises(ParamsError, match="names no key"):
        observe.apply_overrides(path, changes)
    assert path.read_text() == PARAMS


def test_no_feedback_is_said_as_a_pin_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "collect", lambda: None)
    assert observe.observed_feedback() == {"table": "feedback", "version": -1, "rows": 0, "fingerprint": ""}


def test_feedback_is_said_as_its_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    pin = TablePin(table="feedback", version=2, rows=5, fingerprint="f")
    monkeypatch.setattr(collect, "collect", lambda: pin)
    assert observe.observed_feedback() == pin.model_dump()


def test_the_documents_can_be_looked_at_alone(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workspace / "help").mkdir()
    (workspace / "help" / "frost.md").write_text("Bring the valve in.")
    source = "{uri: 'help/*', tenant: public, link: null}"
    chunk = "{tokens: 96, overlap: 16}"
    options = f"sources: [{source}], chunk: {chunk}, max_bytes: 99, dtype: float32, quantization: none"
    (workspace / "params.yaml").write_text(f"index: {{{options}}}\n")
    monkeypatch.setattr("sys.argv", ["observe", "--documents"])
    observe.main()
    written = list((workspace / "data" / "inputs").iterdir())
    assert [path.name for path in written] == ["documents.json"]
    assert "help/frost.md" in written[0].read_text()


def look(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Observe with nothing to see but who judges."""
    (workspace / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    monkeypatch.setattr("sys.argv", ["observe"])
    monkeypatch.setattr(collect, "collect", lambda: None)
    for name in ("sources", "questions", "documents", "forgotten"):
        monkeypatch.setattr(observe, f"observed_{name}", dict)
    settings.cache_clear()
    observe.main()


def test_another_judge_or_moderator_is_another_input(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = workspace / "data" / "inputs"
    look(workspace, monkeypatch)
    assert json.loads((inputs / "judge.json").read_text()) == {"judge": "the base model"}
    assert json.loads((inputs / "moderator.json").read_text()) == {"moderator": "classifier"}
    monkeypatch.setenv("THUMBWHEEL_JUDGE_URL", "https://ana:secret@judge.example/v1/")
    monkeypatch.setenv("THUMBWHEEL_JUDGE_MODEL", "wise")
    monkeypatch.setenv("THUMBWHEEL_MODERATION_URL", "https://guard.example/v1")
    look(workspace, monkeypatch)
    assert json.loads((inputs / "judge.json").read_text()) == {"judge": "https://judge.example/v1 wise"}
    assert json.loads((inputs / "moderator.json").read_text()) == {"moderator": "moderation:moderation"}


def test_a_judge_without_a_model_ends_the_turn_before_it_begins(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THUMBWHEEL_JUDGE_URL", "https://judge.example/v1")
    monkeypatch.delenv("THUMBWHEEL_JUDGE_MODEL", raising=False)
    with pytest.raises(JudgeError, match="THUMBWHEEL_JUDGE_MODEL"):
        look(workspace, monkeypatch)


def test_every_stage_that_asks_a_judge_depends_on_who_it_is() -> None:
    stages = load_graph(REPOSITORY / "dvc.yaml")
    asking = {name for name, stage in stages.items() if "eval/judge.py" in stage.deps}
    knowing = {name for name, stage in stages.items() if "data/inputs/judge.json" in stage.deps}
    assert asking | {"benchmark"} == knowing
    assert "data/inputs/moderator.json" in stages["benchmark"].deps
