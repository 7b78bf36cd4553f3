"""Look at the outside world before a turn: sources, questions, judges and new feedback, written under data/inputs/.

    python -m stages.observe

Not a DVC stage, for what it finds is not a function of anything. Its files change only where what they list changed,
so that a turn with nothing new finds nothing to do.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thumbwheel.command import run
from thumbwheel.errors import ParamsError
from thumbwheel.lake import TablePin, write_json
from thumbwheel.params import load_params, read_params
from thumbwheel.settings import settings

log = logging.getLogger(__name__)

REVIEWED = "data/human/reviewed.jsonl"
"""Reviewers' verdicts on releases' answers; written where `judge.human_verdicts` names it."""
NO_FEEDBACK = TablePin(table="feedback", version=-1, rows=0, fingerprint="")


def write_changed(path: Path, value: Mapping[str, Any]) -> bool:
    """Write JSON where it differs from what is there; tell whether it did."""
    try:
        if json.loads(path.read_text()) == value:
            return False
    except (FileNotFoundError, json.JSONDecodeError):
        pass
    write_json(path, value)
    return True


def override(sections: dict[str, Any], changes: Mapping[str, Any], where: str = "") -> None:
    """Set values of nested sections in place; only keys that are there may be set.

    Raises:
        ParamsError: a key is not in `params.yaml`.
    """
    for key, value in changes.items():
        name = f"{where}{key}"
        if key not in sections:
            raise ParamsError(f"the override '{name}' names no key of params.yaml (known: {', '.join(sections)}).")
        if isinstance(value, Mapping) and isinstance(sections[key], dict):
            override(sections[key], value, f"{name}.")
        else:
            sections[key] = value


def apply_overrides(path: Path, changes: Mapping[str, Any]) -> None:
    """Set keys of a `params.yaml`, keeping its comments; git shows the difference."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    sections = yaml.load(path)
    override(sections, changes)
    part = path.with_name(f".{path.name}.part")
    with part.open("w") as file:
        yaml.dump(sections, file)
    part.replace(path)


def observed_feedback() -> dict[str, Any]:
    """Bring new feedback into the lake and return the pin of all of it."""
    from stages.collect import collect

    return (collect() or NO_FEEDBACK).model_dump()


def main() -> None:
    """Apply the turn's overrides, then write the lists of inputs; of the documents alone where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--overrides", default="{}", help="JSON object of parameters to set in params.yaml")
    parser.add_argument("--documents", action="store_true", help="look at the documents of the index alone")
    options = parser.parse_args()
    if changes := json.loads(options.overrides):
        apply_overrides(settings().root / "params.yaml", changes)
    if options.documents:
        write_changed(settings().inputs / "documents.json", observed_documents())
        return
    from stages import preflight
    from stages.judge import appointed
    from stages.said import moderator, toxicity_by

    preflight.check(settings().root / "params.yaml")
    found = {
        "sources.json": {"sources": observed_sources()},
        "questions.json": {"sets": observed_questions()},
        "documents.json": observed_documents(),
        "forgotten.json": observed_forgotten(),
        "judge.json": {"judge": appointed()},
        "moderator.json": {"moderator": toxicity_by(moderator())},
        "feedback.json": observed_feedback(),
    }
    if read_params(settings().root / "params.yaml")["judge"]["human_verdicts"] == REVIEWED:
        write_reviewed(settings().root / REVIEWED)
    changed = [name for name, value in found.items() if write_changed(settings().inputs / name, value)]
    log.info("inputs changed since the last turn: %s", ", ".join(changed) or "none")


def observed_sources() -> list[dict[str, Any]]:
    """Return each source of `ingest` with the files that it names today."""
    from stages.ingest import IngestParams
    from stages.reading.sources import list_files

    sources = load_params("ingest", IngestParams).sources
    return [{"name": source.name, "uri": source.uri, "files": list_files(source)} for source in sources]


def observed_forgotten() -> dict[str, Any]:
    """Return the marks of those who were forgotten, and by which key they were made."""
    from thumbwheel import forgotten
    from thumbwheel.lake import newest

    rows = newest(forgotten.TABLE)
    known = [] if rows is None else sorted({(row["mark"], row["key"]) for row in rows.to_pylist()})
    return {"forgotten": [{"mark": mark, "key": key} for mark, key in known]}


def write_reviewed(path: Path) -> None:
    """Write what reviewers said of releases' answers as the file of verdicts that the gate may read."""
    from stages.enqueue import comparisons
    from thumbwheel.lake import newest

    rows = newest("feedback")
    lines = [json.dumps(verdict) for verdict in comparisons([] if rows is None else rows.to_pylist())]
    text = "".join(f"{line}\n" for line in lines)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def observed_questions() -> list[dict[str, Any]]:
    """Return each question set of `pose` with the files that it names today."""
    from stages.pose import PoseParams, list_files

    params = load_params("pose", PoseParams)
    return [{"name": item.name, "uri": item.uri, "files": list_files(item, params.knowledge)} for item in params.sets]


def observed_documents() -> dict[str, Any]:
    """Return each source of `index` with the files that it names today."""
    from stages.index import IndexParams, list_documents

    sources = load_params("index", IndexParams).sources
    return {"sources": [{"uri": source.uri, "files": list_documents(source)} for source in sources]}


if __name__ == "__main__":
    run(main)
