"""Start what `benchmarks.serving` measures: engine, chat service and peers, each a process tree of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from benchmarks.measure import ROOT, peer_python
from serving.keeper import die_with_parent
from serving.options import SHIPPED
from thumbwheel.engine import free_port
from thumbwheel.processes import stop, tree
from thumbwheel.settings import settings

READY_SECONDS = 180
LITELLM = ("litellm[proxy]==1.108.7", "uvloop", "httptools")
VLLM_ROUTER = ("vllm-router==0.1.17",)
UNLIMITED = {
    "limits": {"store": "process", "tiers": {"anonymous": {"per_second": 1e6, "burst": 10_000_000, "at_once": 10_000}}},
    "admission": {"answers": 512, "waiting": 1024},
}
"""No load of the benchmark is to be refused."""
OFF: dict[str, dict[str, Any]] = {
    "guard": {
        "input": {"patterns": False, "classifier": None},
        "stream": None,
        "output": None,
        "personal": {"kinds": [], "input": "allow", "output": "allow"},
    },
    "memory": {name: {"enabled": False} for name in ("window", "summary", "session", "profile", "recall")},
    "cache": {"enabled": False},
    "retrieval": {"enabled": False},
}
"""What turns each feature of serving.yaml off."""
ON: dict[str, dict[str, Any]] = {"cache": {"enabled": True, "ttl_seconds": 1}}
"""What turns a feature on that is not on as shipped."""


@dataclass(frozen=True)
class Server:
    """A running server: where it answers chats, under which model, and the process whose tree it is."""

    url: str
    model: str | None
    pid: int

    def cpu_seconds(self) -> float:
        """Return the CPU-seconds that its processes have used so far."""
        times = [process.cpu_times() for process in tree(self.pid)]
        return sum(t.user + t.system for t in times)

    def memory(self) -> int:
        """Return the bytes that its processes hold."""
        return sum(process.memory_info().rss for process in tree(self.pid))


@contextmanager
def fast_engine(pace: float) -> Iterator[Server]:
    """Serve an engine that costs next to nothing and takes `pace` seconds a word."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.serving_engine", str(port), str(pace)]
    with _running(command, port, "/health", {}) as pid:
        yield Server(f"http://127.0.0.1:{port}/v1/chat/completions", "model", pid)


@contextmanager
def chat(engine: str, features: Sequence[str], folder: Path, bundle: Path) -> Iterator[Server]:
    """Serve our chat before an engine, with some features on and all others off; `folder` takes its files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "serving.yaml").write_text(yaml.safe_dump(options(features)))
    environment = {
        "BENCHMARK_ENGINE": engine.removesuffix("/v1/chat/completions"),
        "BENCHMARK_BUNDLE": str(bundle.resolve()),
        "BENCHMARK_INDEX": str((settings().root / "data" / "index").resolve()),
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "THUMBWHEEL_ROOT": str(folder),
        "THUMBWHEEL_STATE": str(folder / "state"),
        "THUMBWHEEL_SERVING": str(folder / "serving.yaml"),
    }
    (folder / "state").mkdir(exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", "benchmarks.serving_service:Chat", "--port", str(port)]
    with _running(command, port, "/healthz", environment) as pid:
        yield Server(f"http://127.0.0.1:{port}/v1/chat/completions", None, pid)


@contextmanager
def litellm(engine: str, folder: Path) -> Iterator[Server]:
    """Serve LiteLLM's proxy before an engine, with one worker, no key and its log off."""
    folder.mkdir(parents=True, exist_ok=True)
    upstream = {"model": "openai/model", "api_base": engine.removesuffix("/chat/completions"), "api_key": "none"}
    config = {
        "model_list": [{"model_name": "model", "litellm_params": upstream}],
        "litellm_settings": {"telemetry": False, "set_verbose": False},
        "general_settings": {"disable_spend_logs": True},
    }
    (folder / "litellm.yaml").write_text(yaml.safe_dump(config))
    port, python = free_port(), Path(peer_python("litellm", LITELLM))
    command = [str(python.with_name("litellm")), "--config", str(folder / "litellm.yaml"), "--port", str(port)]
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
    environment["LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY"] = "true"
    with _running(
        [*command, "--host", "127.0.0.1", "--num_workers", "1"], port, "/health/liveliness", environment
    ) as pid:
        yield Server(f"http://127.0.0.1:{port}/v1/chat/completions", "model", pid)


@contextmanager
def vllm_router(engine: str, folder: Path) -> Iterator[Server]:
    """Serve vLLM's router before an engine: it chooses among engines and passes bytes on, and is no proxy of chats."""
    folder.mkdir(parents=True, exist_ok=True)
    port, metrics, python = free_port(), free_port(), Path(peer_python("vllm-router", VLLM_ROUTER))
    command = [
        str(python.with_name("vllm-router")),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--policy",
        "round_robin",
    ]
    command += ["--worker-urls", engine.removesuffix("/v1/chat/completions"), "--prometheus-port", str(metrics)]
    command += ["--log-level", "error", "--max-concurrent-requests", "1024"]
    with _running(command, port, "/health", {}) as pid:
        yield Server(f"http://127.0.0.1:{port}/v1/chat/completions", "model", pid)


def options(features: Sequence[str]) -> dict[str, Any]:
    """Return serving.yaml as shipped with some features on and the others off, and without limits."""
    changed: dict[str, Any] = yaml.safe_load(SHIPPED.read_text())
    for change in ({name: OFF[name] for name in OFF if name not in features}, {n: ON[n] for n in ON if n in features}):
        _merge(changed, change)
    _merge(changed, UNLIMITED)
    return changed


def _merge(into: dict[str, Any], change: Mapping[str, Any]) -> None:
    for name, value in change.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value


@contextmanager
def _running(command: Sequence[str], port: int, health: str, environment: Mapping[str, str]) -> Iterator[int]:
    """Run a server until the `with` block ends, or we are killed; its words go to a file, shown where it fails."""
    log = settings().state_dir / "benchmarks" / f"{Path(command[0]).name}-{port}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        process = subprocess.Popen(
            list(command),
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=sink,
            stderr=sink,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}{health}", log)
        yield process.pid
    finally:
        stop(reversed(tree(process.pid)), patience=15)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.3)
    raise RuntimeError(f"{url} did not come up: {log.read_text(errors='replace')[-800:]}")
