"""The manifests as a cluster would get them: rendered by kubectl, with the pods and settings in them at hand."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from typing import Any

import pytest
import yaml

from thumbwheel.settings import REPOSITORY

FOLDER = REPOSITORY / "serving" / "kubernetes"
OVERLAYS = ("base", "overlays/gpu", "overlays/5k")
Manifest = dict[str, Any]


@cache
def rendered(overlay: str) -> tuple[Manifest, ...]:
    """Return the resources of an overlay, or skip the test where there is no kubectl."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl, which renders the manifests, is not installed")
    done = subprocess.run([kubectl, "kustomize", str(FOLDER / overlay)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of(overlay: str, *kinds: str) -> list[Manifest]:
    return [one for one in rendered(overlay) if one["kind"] in kinds]


def named(overlay: str, kind: str, name: str) -> Manifest:
    """Return the resource of that name; of a generated one the name without its hash."""
    (found,) = [one for one in of(overlay, kind) if one["metadata"]["name"].rsplit("-", 1)[0] == name
                or one["metadata"]["name"] == name]  # fmt: skip
    return found


def workloads(overlay: str) -> dict[str, Manifest]:
    """Return the pod templates by the name of what makes them."""
    return {one["metadata"]["name"]: one["spec"]["template"] for one in of(overlay, "Deployment", "StatefulSet")}


def container(overlay: str, name: str) -> Manifest:
    (only,) = workloads(overlay)[name]["spec"]["containers"]
    return dict(only)


def environment(overlay: str, name: str) -> dict[str, str]:
    """Return the plain variables of a container, those of its config maps among them."""
    one = container(overlay, name)
    maps = {m["metadata"]["name"]: m["data"] for m in of(overlay, "ConfigMap")}
    found = {k: v for source in one["envFrom"] for k, v in maps[source["configMapRef"]["name"]].items()}
    return found | {entry["name"]: entry["value"] for entry in one.get("env", []) if "value" in entry}


def secrets(overlay: str, name: str) -> dict[str, Manifest]:
    """Return a container's variables that are references to secrets."""
    entries = container(overlay, name).get("env", [])
    return {entry["name"]: entry["valueFrom"]["secretKeyRef"] for entry in entries if "valueFrom" in entry}
