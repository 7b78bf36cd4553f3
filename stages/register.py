"""Register the judged candidate in MLflow, with its lineage, its dossier and its model card.

    python -m stages.register

The weights stay where DVC and BentoML keep them; the version's tags say where, and by which hash.
"""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from stages import census
from thumbwheel import tracking
from thumbwheel.bundle import bundle_hash, refuse_other
from thumbwheel.command import run
from thumbwheel.lake import Pin, read_pin, write_pin
from thumbwheel.settings import settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

log = logging.getLogger(__name__)

CARD = "candidate"
"""Folder of the run's artifacts that is the version's source: the gate's decision, the dossier and the model card."""
LINEAGE = ("ingest", "pose", "pairs", "dedup", "scrub", "grade", "split", "answer", "judge", "benchmark")


def lineage(bundle: str, gate: dict[str, Any], root: Path) -> dict[str, str]:
    """Return the tags that say what a version was made from; the same content gives the same tags, save the commit."""
    return {
        "bundle": bundle,
        "gate": gate_mark(gate),
        "outcome": str(gate["outcome"]),
        "parent_version": str(champion_version() or "base"),
        "git_commit": git_commit(root),
        "params": digest((root / "params.yaml").read_bytes()),
        "weights": f"models/served at {weights_md5(root)} in the DVC cache; bundle {bundle[:12]} in the BentoML store",
        **privacy(),
        **{f"pin.{stage}": pin_mark(stage) for stage in LINEAGE if (settings().pins / f"{stage}.json").exists()},
    }


def privacy() -> dict[str, str]:
    """Return what differential privacy was spent on the conversations, where the model was trained under it."""
    path = settings().reports / "sft.json"
    spent = json.loads(path.read_text()) if path.exists() else {}
    if "epsilon" not in spent:
        return {}
    said = f"epsilon {spent['epsilon']:.3g} at delta {spent['delta']:g}, of a conversation; pairs are not covered"
    return {"privacy": said}


def gate_mark(gate: dict[str, Any]) -> str:
    """Return the hash of a gate's decision."""
    return digest(json.dumps(gate, sort_keys=True).encode())


def pin_mark(stage: str) -> str:
    """Return the fingerprints of a stage's tables as one."""
    tables = read_pin(stage).tables
    return digest("".join(f"{name}={tables[name].fingerprint}\n" for name in sorted(tables)).encode())[:16]


def champion_version() -> int | None:
    """Return the version that the candidate was judged against, None where that was the base model."""
    path = settings().inputs / "champion.json"
    return json.loads(path.read_text())["version"] if path.exists() else None


def git_commit(root: Path) -> str:
    """Return the commit that is checked out, with '+' where files differ from it, or 'none' outside of git."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        dirty = subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=root, capture_output=True, check=False)
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return head.stdout.strip() + ("+" if dirty.returncode else "")


def weights_md5(root: Path) -> str:
    """Return the name of the bundle in the DVC cache, from `dvc.lock`."""
    path = root / "dvc.lock"
    stages = (yaml.safe_load(path.read_text()) or {}).get("stages", {}) if path.exists() else {}
    outs = [out for stage in stages.values() for out in stage.get("outs", []) if out["path"] == "models/served"]
    return str(outs[0].get("md5", "unknown")) if outs else "unknown"


def digest(content: bytes) -> str:
    """Return the SHA-256, in hex."""
    return hashlib.sha256(content).hexdigest()


def known_version(api: MlflowClient, bundle: str, gate: str) -> ModelVersion | None:
    """Return the version that holds this bundle with this decision, or None."""
    found = api.search_model_versions(f"name = '{tracking.MODEL}'")
    same = [version for version in found if (version.tags.get("bundle"), version.tags.get("gate")) == (bundle, gate)]
    return min(same, key=lambda version: int(version.version), default=None)


def create_version(stage: tracking.StageRun, tags: dict[str, str]) -> ModelVersion:
    """Log decision, dossier and model card, and register them as a new version, whose description is the card."""
    from mlflow.exceptions import MlflowException

    for name in ("gate.json", "dossier.html", "model_card.md"):
        stage.artifact(settings().reports / name, CARD)
    try:
        stage.client.create_registered_model(tracking.MODEL)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    card = (settings().reports / "model_card.md").read_text()
    return stage.client.create_model_version(
        tracking.MODEL, source=f"runs:/{stage.run_id}/{CARD}", run_id=stage.run_id, tags=tags, description=card
    )


def main() -> None:
    """Register the candidate, or find the version that it has already, and write the pin."""
    bundle = bundle_hash(settings().models / "served")
    gate = json.loads((settings().reports / "gate.json").read_text())
    refuse_other(settings().models / "served", gate["bundle"])
    tags = lineage(bundle, gate, settings().root)
    with tracking.stage_run("register") as stage:
        census.keep(bundle)
        version = known_version(stage.client, bundle, tags["gate"]) or create_version(stage, tags)
        facts = {
            "model": tracking.MODEL,
            "version": int(version.version),
            "bundle": bundle,
            "run_id": version.run_id,
            "experiment": stage.client.get_run(str(version.run_id)).info.experiment_id,
            "outcome": gate["outcome"],
        }
        stage.tag("version", str(version.version))
        write_pin(Pin(stage="register", facts=facts))
    log.info("%s version %s: the gate's outcome is %s", tracking.MODEL, version.version, gate["outcome"])


if __name__ == "__main__":
    run(main)
