"""What our chat service adds to an engine, beside LiteLLM and vLLM's router: CPU-seconds an answer, and latency.

    python -m benchmarks.serving            # all parts; or some by name: load latency features real soak
    python -m benchmarks.serving --json F   # keeps the figures too, for benchmarks.capacity

Needs `models/base` and `data/index`, which make run leaves. The engine costs next to nothing and streams 37 words at
10 ms each; that of `real` is vLLM. CPU is that of the whole process tree of a server, so that a busy machine changes it
little; a rate a core is its inverse. Latency is ours less the engine's own in the same run. A soak of ten minutes is
`soak`, and not run unless named.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, machine, markdown
from benchmarks.serving_parts import Server, chat, fast_engine, litellm, vllm_router
from thumbwheel.engine import running_engine
from thumbwheel.settings import settings

PACE = 0.01
SECONDS = 8.0
MOST_A_SECOND = 250.0
"""Above this, engine and load take the machine themselves."""
WARM_SECONDS = 2.0
STREAMS = (1, 32, 256)
AS_SHIPPED = ("guard", "memory", "retrieval")
FEATURES: dict[str, tuple[str, ...]] = {
    "nothing": (),
    **{name: (name,) for name in ("guard", "memory", "cache", "retrieval")},
    "as shipped": AS_SHIPPED,
    "all": (*AS_SHIPPED, "cache"),
}
SOAK_SECONDS = 600
SOAK_WINDOWS = 10

Said = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[], metavar="PART")
    parser.add_argument("--json", type=Path, metavar="FILE")
    wanted = parser.parse_args()
    print(machine())
    kept: dict[str, list[Said]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted.parts or [name for name in PARTS if name != "soak"]:
            kept[name] = PARTS[name](Path(folder) / name)
    if wanted.json:
        wanted.json.write_text(json.dumps(kept, indent=1))


def loaded(server: Server, stream: bool, seconds: float = SECONDS, **more: Any) -> Said:
    """Load a server once it is warm and return what the load says, and the milliseconds of CPU an answer cost it.

    Raises:
        RuntimeError: an answer failed; a figure of a load that was not carried is none.
    """
    asked = {"url": server.url, "model": server.model, "stream": stream, "seconds": seconds, **more}
    before = server.cpu_seconds()
    command = [sys.executable, "-m", "benchmarks.serving_load", json.dumps(asked)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    said: Said = json.loads(done.stdout)
    if said["faults"] or not said["answers"]:
        raise RuntimeError(f"{said['faults']} answers failed, {said['answers']} did not: {said['fault']}")
    return {**said, "cpu_ms": 1000 * (server.cpu_seconds() - before) / said["answers"]}


def warmed(server: Server) -> Server:
    """Return a server that has answered a while."""
    for stream in (True, False):
        loaded(server, stream, WARM_SECONDS, streams=8)
    return server


@contextmanager
def beside_peers(folder: Path) -> Iterator[dict[str, Server]]:
    """Serve an engine (first) and, before it, our chat without features and the peers, all but the engine warm."""
    with fast_engine(PACE) as engine, ExitStack() as stack:
        before = {
            "ours": chat(engine.url, (), folder, base()),
            "LiteLLM": litellm(engine.url, folder),
            "vLLM router": vllm_router(engine.url, folder),
        }
        yield {"engine": engine, **{name: warmed(stack.enter_context(one)) for name, one in before.items()}}


def load(folder: Path) -> list[Said]:
    """Measure CPU an answer and answers a second at 1, 32 and 256 at once."""
    rows = []
    with beside_peers(folder) as servers:
        servers.pop("engine")
        for stream in (True, False):
            for streams in STREAMS:
                said = {name: loaded(one, stream, streams=streams) for name, one in servers.items()}
                rows += [{"server": name, **one} for name, one in said.items()]
                _print_load(streams, stream, {name: one["cpu_ms"] for name, one in said.items()})
    return rows


def _print_load(streams: int, stream: bool, costs: dict[str, float]) -> None:
    ours, litellm, router = (costs[name] for name in ("ours", "LiteLLM", "vLLM router"))
    cells = [f"{kind(stream)}, {streams} at once", f"{ours:.2f}", f"{litellm:.2f}", f"{router:.2f}"]
    rates = f"{1000 / ours:.0f}, {1000 / litellm:.0f}, {1000 / router:.0f}"
    print("| " + " | ".join([*cells, rates, f"{litellm / ours:.1f}×"]) + " |", flush=True)


def latency(folder: Path) -> list[Said]:
    """Measure what is added to the time to the first words and to the end, at half of what one core carries."""
    rows = []
    with beside_peers(folder) as servers:
        engine = servers.pop("engine")
        for stream in (True, False):
            for name, server in servers.items():
                rate = min(500 / loaded(server, stream, streams=32)["cpu_ms"], MOST_A_SECOND)
                alone, through = (loaded(one, stream, rate=rate) for one in (engine, server))
                rows.append({"server": name, "alone": alone, **through})
                print("| " + " | ".join([name, kind(stream), f"{rate:.0f}", *added(alone, through)]) + " |", flush=True)
    return rows


def features(folder: Path) -> list[Said]:
    """Measure what each feature alone, and all of them, cost an answer."""
    rows = []
    with fast_engine(PACE) as engine:
        for name, chosen in FEATURES.items():
            with chat(engine.url, chosen, folder / name.replace(" ", "_"), base()) as ours:
                warmed(ours)
                said = [loaded(ours, stream, streams=16) for stream in (True, False)]
            rows += [{"features": name, **one} for one in said]
            print(f"| {name} | {said[0]['cpu_ms']:.2f} | {said[1]['cpu_ms']:.2f} |", flush=True)
    return rows


def real(folder: Path) -> list[Said]:
    """Measure what each feature alone, and all of them, add to vLLM's own latency, one user after another."""
    rows = []
    folder.mkdir(parents=True)
    with running_engine(base(), "model", 2048, folder / "engine.log") as url:
        engine = Server(f"{url}/chat/completions", "model", 0)
        for name, chosen in FEATURES.items():
            with chat(engine.url, chosen, folder / name.replace(" ", "_"), base()) as ours:
                warmed(ours)
                for stream in (True, False):
                    asked = {"streams": 1, "max_tokens": 24, "seconds": 30.0}
                    alone, through = loaded(engine, stream, **asked), loaded(ours, stream, **asked)
                    rows.append({"features": name, "alone": alone, **through})
                    print("| " + " | ".join([name, kind(stream), *added(alone, through)]) + " |", flush=True)
    return rows


def soak(folder: Path) -> list[Said]:
    """Load the service as shipped for ten minutes and follow its memory."""
    rows = []
    with fast_engine(PACE) as engine, chat(engine.url, AS_SHIPPED, folder, base()) as ours:
        warmed(ours)
        for window in range(SOAK_WINDOWS):
            said = loaded(ours, window % 2 == 0, SOAK_SECONDS / SOAK_WINDOWS, streams=32)
            rows.append({**said, "memory": ours.memory()})
            print(f"| {window + 1} | {said['answers']} | {ours.memory() / 2**20:.0f} |", flush=True)
    return rows


def kind(stream: bool) -> str:
    return "streamed" if stream else "whole"


def added(alone: Said, through: Said) -> list[str]:
    """Return milliseconds that the service adds to the engine's median and 99th percentile, first words and whole."""
    names = ("first_p50", "first_p99", "whole_p50", "whole_p99")
    return [f"{through[name] - alone[name]:+.1f}" for name in names]


def base() -> Path:
    return settings().models / "base"


def _headed(part: Callable[[Path], list[Said]], heading: Sequence[str]) -> Callable[[Path], list[Said]]:
    def headed(folder: Path) -> list[Said]:
        print(f"\n{markdown(heading, [])}")
        return part(folder)

    return headed


LOAD = ("load", "ours, ms CPU", "LiteLLM", "vLLM's router", "answers a second and core", "LiteLLM / ours")
ADDED = ("first p50", "first p99", "end p50", "end p99, ms")
PARTS = {
    "load": _headed(load, LOAD),
    "latency": _headed(latency, ("server", "answer", "a second", *ADDED)),
    "features": _headed(features, ("on", "streamed, ms CPU", "whole, ms CPU")),
    "real": _headed(real, ("on", "answer", *ADDED)),
    "soak": _headed(soak, ("minute", "answers", "memory, MiB")),
}

if __name__ == "__main__":
    main()
