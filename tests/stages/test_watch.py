"""The weekly watch over a running chat service, whose engine is changed behind its back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stages import watch
from stages.golden.ledger import ledger_path, read_ledger
from stages.watch import WatchParams
from tests.fakes import served
from tests.serving.conftest import Chat, chatting, options_with
from thumbwheel.errors import DriftError, ParamsError
from thumbwheel.lake import Pin, write_pin, write_table
from thumbwheel.records import QUESTION, to_table
from thumbwheel.settings import REPOSITORY, settings
from thumbwheel.tracking import client

LIMITS = {"store": "process", "tiers": {"anonymous": {"per_second": 1000, "burst": 100_000, "at_once": 1000}}}

SIZES = {"golden": 6, "questions": 6, "benign": 12}
SECTION = {
    **yaml.safe_load((REPOSITORY / "params.yaml").read_text())["watch"],
    "sets": {name: {"max_questions": size, "max_tokens": 40} for name, size in SIZES.items()},
    "criteria": [{"measure": name, "margin": 0.35} for name in ("changed", "length", "refused", "marked", "failed")],
}
"""That of `params.yaml` for fewer questions, with margins that so few can show to be kept."""


@pytest.fixture
def service(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    """A chat service whose engine answers a question always alike, and the questions of `pose` beside it."""
    (workspace / "params.yaml").write_text(yaml.safe_dump({"watch": SECTION}))
    write_pin(Pin(stage="pose", tables={"questions": write_table("questions", to_table(questions(), QUESTION))}))
    with chatting(workspace, options_with(limits=LIMITS)) as chat:
        chat.engine.answer = said  # type: ignore[method-assign]
        monkeypatch.setenv("THUMBWHEEL_CHAT_URL", chat.url)
        settings.cache_clear()
        yield chat


def questions() -> list[dict[str, Any]]:
    from stages.pose import PoseParams, read_documents, read_set
    from thumbwheel.params import load_params

    params = load_params("pose", PoseParams, REPOSITORY / "params.yaml")
    documents = read_documents(str(REPOSITORY / params.knowledge))
    wanted = [item for item in params.sets if item.name in SIZES]
    located = [item.model_copy(update={"uri": str(REPOSITORY / item.uri)}) for item in wanted]
    return [row for item in located for row in read_set(item, documents)]


def said(payload: dict[str, Any]) -> str:
    return f"You ask: {payload['messages'][-1]['content']} That is explained on our help pages, step by step."


CHANGES = (
    (lambda payload: said(payload)[:12], "length, in doublings, fewer or less"),
    (lambda payload: "I'm sorry, but I can't help with that.", "refusals"),
    (lambda payload: f"{said(payload)}\nUser: And then?", "answers with a template's marks"),
)


def look(*arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["watch", *arguments])
        watch.main()


def metrics() -> dict[str, float]:
    """Return the metrics of the newest run."""
    api = client()
    (experiment,) = [one.experiment_id for one in api.search_experiments() if one.name == "thumbwheel"]
    run = api.search_runs([experiment], "tags.`thumbwheel.stage` = 'watch'", max_results=1)[0]
    return dict(run.data.metrics) | {"failed": float(run.info.status == "FAILED")}


def release() -> dict[str, Any]:
    return watch.served_release(watch.chat_url())


def test_the_first_look_keeps_the_answers_and_the_next_ones_find_no_drift(service: Chat) -> None:
    look()
    kept = read_ledger(release())
    assert kept is not None
    assert len(kept.questions) == len(kept.answers) == sum(SIZES.values())
    assert all(answer is not None for answer in kept.answers)
    look()
    look()
    after = read_ledger(release())
    assert after is not None
    assert [one.outcome for one in after.looks] == ["none", "none"]
    assert after.answers == kept.answers
    assert "**No drift.**" in (settings().reports / "watch.md").read_text()
    assert "<table>" in (settings().reports / "watch.html").read_text()
    assert metrics()["drift"] == 0.0
    asked = service.engine.payloads
    assert {payload["temperature"] for payload in asked} == {0.0}
    assert {payload["seed"] for payload in asked} == {0, 1, 2}  # so no answer comes from the cache of an earlier look


def test_a_change_behind_the_services_back_fails_the_look_with_a_line_that_says_what(service: Chat) -> None:
    look()
    path = ledger_path(release())
    kept = path.read_text()
    for change, seen in CHANGES:
        path.write_text(kept)
        service.engine.answer = change  # type: ignore[method-assign]
        with pytest.raises(DriftError, match="thumbwheel-chat/3 has drifted since its promotion, at look 1") as raised:
            look()
        assert seen in str(raised.value)
        assert "\n" not in str(raised.value)
        page = (settings().reports / "watch.md").read_text()
        assert "**Drift.**" in page
        assert "## Changed most" in page
        assert (metrics()["drift"], metrics()["failed"]) == (1.0, 1.0)


def test_drift_is_told_to_alertmanager_and_stays_until_somebody_accepts_it(
    service: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    async def receive(request: Request) -> Response:
        told.append(json.loads(await request.body()))
        return JSONResponse({})

    with served(Starlette(routes=[Route("/api/v2/alerts", receive, methods=["POST"])])) as alertmanager:
        monkeypatch.setenv("THUMBWHEEL_ALERTMANAGER_URL", alertmanager)
        settings.cache_clear()
        look()
        service.engine.answer = lambda payload: "No."  # type: ignore[method-assign]
        with pytest.raises(DriftError):
            look()
        look("--accept")
    (_,), (alert,), (end,) = told
    assert alert["labels"] == end["labels"]
    assert alert["endsAt"] > end["endsAt"]
    assert (alert["labels"]["alertname"], alert["labels"]["model"]) == ("GoldenSetDrifts", "thumbwheel-chat/3")
    assert "has drifted" in alert["annotations"]["summary"]
    ledger = read_ledger(release())
    assert ledger is not None
    assert ledger.looks == []
    service.engine.answer = said  # type: ignore[method-assign]
    for _ in range(2):  # Alertmanager is gone, and what was shown once stays shown
        with pytest.raises(DriftError):
            look()
        service.engine.answer = lambda payload: "No."  # type: ignore[method-assign]


def test_a_service_that_cannot_answer_leaves_nothing_to_compare_with(service: Chat) -> None:
    service.engine.status, service.engine.refusal = 400, "no"
    with pytest.raises(DriftError, match="golden questions were answered"):
        look()
    assert read_ledger(release()) is None


def test_a_service_that_is_not_there_is_one_clear_line(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workspace / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    monkeypatch.setenv("THUMBWHEEL_CHAT_URL", "http://127.0.0.1:9")
    settings.cache_clear()
    with pytest.raises(DriftError, match="does not answer"):
        look()


def test_a_set_without_questions_is_named(service: Chat) -> None:
    params = WatchParams.model_validate({**SECTION, "sets": {"godlen": {"max_questions": 1, "max_tokens": 1}}})
    with pytest.raises(ParamsError, match="'godlen'"):
        watch.golden_set(params)
