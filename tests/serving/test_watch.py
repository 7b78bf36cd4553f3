"""Alert rules and dashboard name metrics that the service has, and the rules fire when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
import yaml
from prometheus_client import REGISTRY

from serving import metrics
from thumbwheel.settings import REPOSITORY

WATCH = REPOSITORY / "serving" / "watch"
RULES = [rule for group in yaml.safe_load((WATCH / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
PANELS = json.loads((WATCH / "dashboard.json").read_text())["panels"]
EXPRESSIONS = [rule["expr"] for rule in RULES] + [target["expr"] for one in PANELS for target in one["targets"]]


def names() -> set[str]:
    """Return what the service exports, histograms and counters with their suffixes."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    found = [family for family in REGISTRY.collect() if family.name.startswith("thumbwheel_")]
    return {family.name + suffix for family in found for suffix in suffixes[family.type]}


def labels(name: str) -> set[str]:
    bare = re.sub(r"_(total|bucket|sum|count)$", "", name)
    return {label for one in vars(metrics).values() if getattr(one, "_name", None) == bare for label in one._labelnames}


def used(expression: str) -> set[str]:
    return set(re.findall(r"\bthumbwheel_\w+", expression))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_only_metrics_and_labels_that_there_are_are_asked_for(expression: str) -> None:
    asked = used(expression)
    assert asked
    assert asked <= names()
    grouped = {word for group in re.findall(r"by \(([^)]*)\)", expression) for word in re.split(r",\s*", group)}
    matched = set(re.findall(r"(\w+)\s*=~?\"", expression))
    known = set.union(*(labels(name) for name in asked)) | {"le"}
    assert grouped | matched <= known


def test_every_metric_that_somebody_could_miss_has_its_panel() -> None:
    shown = set.union(*(used(target["expr"]) for one in PANELS for target in one["targets"]))
    bare = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in shown}
    all_ = {family.name for family in REGISTRY.collect() if family.name.startswith("thumbwheel_")}
    assert all_ - bare == {
        "thumbwheel_cache_seconds",
        "thumbwheel_erased",
        "thumbwheel_moderation_away",
        "thumbwheel_recalled",
        "thumbwheel_sessions",
    }


def test_every_alert_says_how_grave_it_is_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "warn")
        assert rule["annotations"].keys() == {"summary", "action"}


def test_the_rules_fire_when_they_should_and_rest_when_they_should() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    for command in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml", "alerts_month_test.yaml"]):
        done = subprocess.run([promtool, *command], cwd=WATCH, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
