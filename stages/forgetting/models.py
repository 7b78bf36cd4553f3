"""The models that learnt from a user, by lineage: marked in the registry, so that whoever serves one knows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import pyarrow.compute as pc

from stages import census
from stages.forgetting.traces import Traces, theirs
from thumbwheel import tracking
from thumbwheel.errors import PinError
from thumbwheel.lake import read_pin, read_table

TAG = "trained_on_forgotten"


class Model(NamedTuple):
    """A version of the registry, by which aliases it is served, and whether it learnt from the user: yes or unknown."""

    version: int
    aliases: tuple[str, ...]
    learnt: str


def models(traces: Traces, marks: Collection[str]) -> list[Model]:
    """Return the versions that learnt from the user, and those of which nobody can tell any more.

    A version learnt from them where the census of its bundle has a mark of theirs, or where its pin of `split` is the
    one of now and holds a row of theirs on the training side.
    """
    taught, counted, pinned = census.bundles_of(marks), census.counted(), _pinned_with(traces)
    found = []
    for version in _versions():
        bundle, split = version.tags.get("bundle"), version.tags.get("pin.split")
        learnt = bundle in taught or (pinned is not None and split == pinned)
        unknown = bundle not in counted and not learnt
        if learnt or unknown:
            found.append(Model(int(version.version), _aliases(version), "yes" if learnt else "unknown"))
    return sorted(found)


def mark(found: Collection[Model], at: str) -> None:
    """Tag versions in the registry; one that is known to have learnt from somebody forgotten stays so."""
    api = tracking.client()
    for model in found:
        known = api.get_model_version(tracking.MODEL, str(model.version)).tags.get(TAG, "")
        if not known.startswith("yes"):
            api.set_model_version_tag(tracking.MODEL, str(model.version), TAG, f"{model.learnt}, {at}")


def _pinned_with(traces: Traces) -> str | None:
    """Return the mark of the split as it is pinned, if its training side holds a row of the user."""
    from stages.register import pin_mark

    try:
        tables = [read_table(pin) for pin in read_pin("split").tables.values()]
    except PinError:
        return None
    sides = [rows.filter(pc.equal(rows["split"], "train")) for rows in tables if "split" in rows.column_names]
    return pin_mark("split") if any(pc.any(theirs(rows, traces)).as_py() for rows in sides) else None


def _versions() -> list[Any]:
    return list(tracking.client().search_model_versions(f"name = '{tracking.MODEL}'"))


def _aliases(version: Any) -> tuple[str, ...]:
    full = tracking.client().get_model_version(tracking.MODEL, version.version)
    return tuple(sorted(full.aliases))
