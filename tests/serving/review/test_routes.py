"""The review queue over HTTP: who gets in, and a disliked answer that comes back as a pair."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.keys import key_file
from tests.serving.conftest import OPTIONS, Chat, chatting, options_with
from tests.serving.review.test_desk import disliked
from thumbwheel.lake import write_json
from thumbwheel.settings import settings

TIERS = {
    name: {"per_second": 1000, "burst": 100_000, "at_once": 1000} for name in ("anonymous", "standard", "reviewer")
}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    monkeypatch.setenv("THUMBWHEEL_ROOT", str(tmp_path))
    monkeypatch.setenv("THUMBWHEEL_STATE", str(tmp_path / ".thumbwheel"))
    settings.cache_clear()
    write_json(settings().queue, {"items": [disliked()]})
    with chatting(tmp_path, options_with(limits={"store": "process", "tiers": TIERS})) as chat:
        yield chat
    settings.cache_clear()


def bearer(tier: str, name: str = "ana") -> dict[str, str]:
    return {"Authorization": f"Bearer {key_file().add(name, tier)[1]}"}


def judge(desk: Chat, headers: dict[str, str], **more: Any) -> httpx.Response:
    body = {"item": "i-1", "verdict": "tie", **more}
    return desk.http.post("/v1/review/verdicts", json=body, headers=headers)


def test_only_reviewers_get_in(desk: Chat) -> None:
    assert desk.http.get("/v1/review/next").status_code == 403
    assert desk.http.get("/v1/review/next", headers=bearer("standard")).status_code == 403
    assert judge(desk, bearer("standard")).status_code == 403
    assert desk.http.get("/v1/review/next", headers=bearer("reviewer")).status_code == 200


def test_a_service_without_a_desk_says_so(chat: Chat, tmp_path: Path) -> None:
    with chatting(tmp_path / "off", options_with(review={"enabled": False}, limits=OPTIONS.limits.model_dump())) as off:
        assert off.http.get("/v1/review/next").status_code == 404


def test_a_verdict_is_an_event_by_the_reviewers_hash(desk: Chat) -> None:
    headers = bearer("reviewer")
    assert judge(desk, headers, repair="Nine months.").status_code == 201
    assert [(event["kind"], event["reason"]) for event in desk.events()] == [("review", "tie"), ("review", "repaired")]
    assert all(event["user"].startswith("u-") for event in desk.events())
    assert desk.http.get("/v1/review/next", headers=headers).json()["progress"]["mine"] == 1


@pytest.mark.parametrize("more", [{"verdict": "c"}, {"item": ""}, {"repair": " "}, {"model": "x"}])
def test_what_is_no_verdict_is_refused(desk: Chat, more: dict[str, Any]) -> None:
    assert judge(desk, bearer("reviewer"), **more).status_code == 400
    assert desk.events() == []
