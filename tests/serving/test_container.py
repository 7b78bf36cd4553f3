"""What an image is made from: the Bento's Dockerfile, and the chat started from it as a pod starts it."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from tests.fakes import fake_engine, tiny_model
from tests.indexes import tiny_index
from tests.waiting import eventually
from thumbwheel.bundle import bundle_hash
from thumbwheel.engine import free_port, stop_group
from thumbwheel.lake import Pin, read_pin, write_pin
from thumbwheel.settings import REPOSITORY, settings

BASE = REPOSITORY / "serving" / "kubernetes" / "base"
UNFOLD = """
import shutil, sys
import bentoml
from bentoml._internal.container import construct_containerfile
with construct_containerfile(bentoml.get(sys.argv[1]), enable_buildkit=False) as (context, dockerfile):
    shutil.copytree(context, sys.argv[2], dirs_exist_ok=True)
"""


@dataclass
class Image:
    """The folder that an image is built from; its root becomes /home/bentoml/bento."""

    folder: Path
    dockerfile: str


@pytest.fixture
def image(workspace: Path) -> Image:
    """A release of a tiny model, packaged by the stage, as `bentoml containerize` lays it out for a builder."""
    shutil.copy(REPOSITORY / "params.yaml", workspace)
    bundle = tiny_model(settings().models / "served")
    write_pin(Pin(stage="register", facts={"version": 3, "bundle": bundle_hash(bundle)}))
    write_pin(Pin(stage="index", facts={"index": tiny_index(settings().index)}))
    environment = {**os.environ, "BENTOML_HOME": str(settings().bentoml_home), "BENTOML_DO_NOT_TRACK": "True"}
    folder = workspace / "image"
    subprocess.run([sys.executable, "-m", "stages.package"], cwd=REPOSITORY, env=environment, check=True)
    unfold = [sys.executable, "-c", UNFOLD, str(read_pin("package").facts["bento"]), str(folder)]
    subprocess.run(unfold, env=environment, check=True)
    return Image(folder, (folder / "env" / "docker" / "Dockerfile").read_text())


@contextmanager
def started(image: Image, engine: str, state: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start the chat by the arguments and variables of the manifest, its addresses those of this machine.

    Yields its address, and the process that a pod is told to stop by.
    """
    pod = next(one for one in yaml.safe_load_all((BASE / "chat.yaml").read_text()) if one["kind"] == "StatefulSet")
    arguments, port = pod["spec"]["template"]["spec"]["containers"][0]["args"], free_port()
    places = {"http://engine:8701": engine, "0.0.0.0": "127.0.0.1", "port=3000": f"port={port}"}
    for theirs, ours in places.items():
        assert any(theirs in word for word in arguments)
        arguments = [word.replace(theirs, ours) for word in arguments]
    environment = {**os.environ, "BENTOML_HOME": str(image.folder), "BENTOML_DO_NOT_TRACK": "True"}
    environment |= {
        "THUMBWHEEL_STATE": str(state),
        "THUMBWHEEL_OUTBOX": str(state / "outbox.db"),
        "OMP_NUM_THREADS": "1",
    }
    environment.pop("THUMBWHEEL_ROOT", None)
    entry = [sys.executable, "-m", "bentoml_cli._internal.start", *arguments, str(image.folder)]  # as entrypoint.sh
    log = (state / "log").open("wb")
    process = subprocess.Popen(entry, cwd=image.folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        assert eventually(lambda: process.poll() is not None or answers(f"{url}/healthz"))
        assert process.poll() is None, (state / "log").read_text()[-3000:]
        yield url, process
    finally:
        stop_group(process)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def drained(url: str, state: Path) -> Any:
    body = json.dumps({"drain": True}).encode()
    proof = hmac.new((state / "user.key").read_bytes(), body, hashlib.sha256).hexdigest()
    return httpx.post(f"{url}/v1/drain", content=body, headers={"X-Operator-Proof": proof}, timeout=60).json()


@pytest.mark.slow
def test_the_chat_starts_from_its_image_as_a_pod_does_and_asks_an_engine_elsewhere(
    image: Image, tmp_path: Path
) -> None:
    assert re.findall(r"^USER (\w+)$", image.dockerfile, re.M) == ["bentoml"]
    assert "ARG BENTO_USER_UID=1034" in image.dockerfile
    assert "ARG BENTO_PATH=/home/bentoml/bento" in image.dockerfile
    assert (image.folder / "src" / "serving" / "engine.py").is_file()
    assert not (image.folder / "src" / "serving" / "kubernetes").exists()
    state = tmp_path / "state"
    state.mkdir()
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "Compose a line on the opera Fidelio."}]}
    with fake_engine() as engine, started(image, engine.url, state) as (url, process):
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)
        assert answer.json()["choices"][0]["message"]["content"].startswith("Echo 1: ")
        assert answer.json()["model"] == "thumbwheel-chat/3"
        assert len(answer.headers["X-Request-Id"]) == 32
        assert "thumbwheel_answering" in httpx.get(f"{url}/metrics", timeout=60).text
        assert not any("vllm" in " ".join(p.cmdline()) for p in psutil.Process().children(recursive=True))
        engine.text, engine.delay = "And so it goes. " * 20, 0.05
        with httpx.stream("POST", f"{url}/v1/chat/completions", json={**body, "stream": True}, timeout=60) as stream:
            lines = stream.iter_lines()
            begun = next(lines)
            assert drained(url, state)["answering"] == 1
            assert httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60).status_code == 503
            assert httpx.get(f"{url}/readyz", timeout=60).status_code == 503
            process.terminate()
            said = "".join([begun, *lines])
        assert (said.count("And so it goes."), said[-12:]) == (20, "data: [DONE]")
        assert eventually(lambda: process.poll() is not None)
        assert not answers(f"{url}/healthz")
    with sqlite3.connect(state / "history.db") as kept:
        assert kept.execute("SELECT finish FROM replies ORDER BY rowid").fetchall() == [("stop",), ("stop",)]
    assert (state / "outbox.db").exists()


def test_the_wheels_image_builds_in_one_stage_and_runs_in_another_as_nobody_special() -> None:
    lines = (REPOSITORY / "Dockerfile").read_text().splitlines()
    stages = [line.split()[1:] for line in lines if line.startswith("FROM")]
    assert [stage[0] for stage in stages] == ["python:3.11-slim", "python:3.11-slim"]
    assert stages[0][1:] == ["AS", "build"]
    assert [line for line in lines if line.startswith("USER")] == ["USER 1034:1034"]
    (copied,) = [line for line in lines if line.startswith("COPY --from=build")]
    assert copied.endswith("/app /app")
    assert (REPOSITORY / "requirements" / "setup.sh").is_file()
    assert (REPOSITORY / "thumbwheel" / "turn.py").is_file()


def test_no_image_carries_what_git_keeps_out() -> None:
    ignored = {line.strip("/") for line in (REPOSITORY / ".gitignore").read_text().split()} - {
        "*.egg-info",
        ".DS_Store",
    }
    left_out = set((REPOSITORY / ".dockerignore").read_text().split())
    caches = {".ruff_cache", ".mypy_cache", ".pytest_cache", ".hypothesis", "__pycache__"}
    assert {name for name in ignored - caches if not name.startswith("!")} <= left_out
