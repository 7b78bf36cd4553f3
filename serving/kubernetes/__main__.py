"""Write the manifests that repeat the service's own files: alert rules, and its options as a cluster needs them.

python -m serving.kubernetes
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from serving.options import SHIPPED, load_options
from thumbwheel.command import run
from thumbwheel.errors import ParamsError

HERE = Path(__file__).resolve().parent
ALERTS = HERE.parent / "watch" / "alerts.yaml"
MADE = "# Made by: python -m serving.kubernetes\n"
RULES = "base/rules.yaml"


def written() -> dict[str, str]:
    """Return each file's text by its name below this folder.

    Raises:
        ParamsError: `cluster.yaml` names an option that the service does not have.
    """
    changes = yaml.safe_load((HERE / "cluster.yaml").read_text())
    shipped = yaml.safe_load(SHIPPED.read_text())
    files = {name: _text(changed(shipped, change)) for name, change in changes.items()}
    return {RULES: _text(rules(yaml.safe_load(ALERTS.read_text()))), **files}


def rules(alerts: Mapping[str, Any]) -> dict[str, Any]:
    """Return Prometheus' rules as the Prometheus operator takes them."""
    head = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": {"name": "thumbwheel"}}
    return {**head, "spec": {"groups": alerts["groups"]}}


def changed(options: Mapping[str, Any], changes: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Return nested options with some of them changed; only those that are there may be."""
    result = deepcopy(dict(options))
    for name, value in changes.items():
        if name not in result:
            raise ParamsError(f"cluster.yaml: unknown option '{where}{name}' (known: {', '.join(result)}).")
        nested = isinstance(value, Mapping) and isinstance(result[name], dict)
        result[name] = changed(result[name], value, f"{where}{name}.") if nested else value
    return result


def main() -> None:
    """Write the files, once all of them can be used."""
    for name, text in written().items():
        (HERE / name).write_text(text)
        if name != RULES:
            load_options(HERE / name)


def _text(value: Any) -> str:
    return MADE + str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120))


if __name__ == "__main__":
    run(main)
