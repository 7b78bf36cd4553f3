"""The task graph, against hand-made files and against DVC's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbwheel.errors import GraphError
from thumbwheel.graph import Stage, _sorted, load_graph
from thumbwheel.settings import REPOSITORY


def written(folder: Path, stages: str) -> Path:
    path = folder / "dvc.yaml"
    path.write_text(f"stages:\n{stages}")
    return path


def dvc_edges(root: Path) -> set[tuple[str, str]]:
    """Return (upstream, downstream) of each edge that `dvc dag` draws."""
    command = [sys.executable, "-m", "dvc", "dag", "--mermaid"]
    lines = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    names = {line.split("[")[0].strip(): line.split('"')[1] for line in lines if "[" in line}
    edges = (line.split("-->") for line in lines if "-->" in line)
    return {(names[a.strip()], names[b.strip()]) for a, b in edges}


def test_a_stage_waits_for_the_makers_of_its_inputs(tmp_path: Path) -> None:
    path = written(tmp_path, "  b: {cmd: b, deps: [x, y/z]}\n  a: {cmd: a, outs: [x]}\n  c: {cmd: c, outs: [y]}\n")
    assert load_graph(path)["b"].upstream == ("a", "c")


def test_stages_come_upstream_first(tmp_path: Path) -> None:
    path = written(tmp_path, "  b: {cmd: b, deps: [x]}\n  a: {cmd: a, outs: [x]}\n")
    assert list(load_graph(path)) == ["a", "b"]


def test_metrics_and_plots_are_outputs_too(tmp_path: Path) -> None:
    path = written(tmp_path, "  a: {cmd: a, metrics: [m: {cache: false}], plots: [p]}\n  b: {cmd: b, deps: [m, p]}\n")
    assert load_graph(path)["b"].upstream == ("a",)


def test_a_hint_for_the_task_is_kept(tmp_path: Path) -> None:
    assert load_graph(written(tmp_path, "  a: {cmd: a, meta: {pool: gpu}}\n"))["a"].meta == {"pool": "gpu"}


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ("  a: {cmd: 'echo ${x}'}\n", "write the value out"),
        ("  a: {foreach: [1], do: {cmd: a}}\n", "foreach"),
        ("  a: {matrix: {x: [1]}, cmd: a}\n", "matrix"),
        ("  a: {cmd: a, wdir: sub}\n", "wdir"),
        ("  a: {cmd: a, outs: [x]}\n  b: {cmd: b, outs: [x]}\n", "both make x"),
        ("  a: {cmd: a, deps: [y], outs: [x]}\n  b: {cmd: b, deps: [x], outs: [y]}\n", "wait for one another"),
    ],
)
def test_what_hides_dependencies_is_refused_by_name(tmp_path: Path, stages: str, words: str) -> None:
    with pytest.raises(GraphError, match=words):
        load_graph(written(tmp_path, stages))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="is missing"):
        load_graph(tmp_path / "dvc.yaml")


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20))
def test_the_order_respects_every_edge(pairs: list[tuple[int, int]]) -> None:
    names = [f"s{i}" for i in range(8)]
    waits = {name: {f"s{min(p)}" for p in pairs if max(p) == i and min(p) != i} for i, name in enumerate(names)}
    order = list(_sorted({name: Stage(name, (), (), tuple(sorted(waits[name]))) for name in reversed(names)}))
    assert all(order.index(upstream) < order.index(name) for name in names for upstream in waits[name])


def test_the_repositorys_graph_is_the_one_that_dvc_sees() -> None:
    stages = load_graph(REPOSITORY / "dvc.yaml")
    ours = {(upstream, stage.name) for stage in stages.values() for upstream in stage.upstream}
    assert ours == dvc_edges(REPOSITORY)
