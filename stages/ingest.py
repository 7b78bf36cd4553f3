"""Read the sources into two tables, conversations and preferences, and turn away by name what does not fit.

python -m stages.ingest
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
from pydantic import model_validator

from stages.reading.heap import lean
from stages.reading.intake import SCHEMAS, RowParams
from stages.reading.sources import Source, observed_files
from stages.reading.units import Taken, clear_kept, take_in, units_of
from thumbwheel.command import run
from thumbwheel.errors import SourceError
from thumbwheel.forgotten import observed
from thumbwheel.lake import Pin, TablePin, write_pin, write_table
from thumbwheel.params import load_params
from thumbwheel.tracking import stage_run

log = logging.getLogger(__name__)

TABLES = {
    "conversations": "ingest_conversations",
    "preferences": "ingest_preferences",
    "quarantine": "quarantine",
    "origins": "ingest_origins",
}


class IngestParams(RowParams):
    sources: list[Source]

    @model_validator(mode="after")
    def _sources_have_names_of_their_own(self) -> IngestParams:
        names = Counter(source.name for source in self.sources)
        if taken := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"several sources are named '{taken[0]}'; give each a name of its own")
        return self

    def of_rows(self) -> RowParams:
        """Return what is asked of every row, whatever the sources are."""
        return RowParams.model_validate(self.model_dump(exclude={"sources"}))


def read_sources(params: IngestParams) -> dict[str, list[Taken]]:
    """Return what the files of each source gave, as they were observed.

    Raises:
        SourceError: a source is not as it was observed, or a file of it is corrupt as a whole.
    """
    rows, refused = params.of_rows(), observed()
    units = {
        source.name: [unit for file in observed_files(source) for unit in units_of(source, file, rows, refused)]
        for source in params.sources
    }
    taken = iter(take_in([unit for of_source in units.values() for unit in of_source]))
    return {name: [next(taken) for _ in of_source] for name, of_source in units.items()}


def write_tables(taken: Sequence[Taken]) -> dict[str, TablePin]:
    """Write the rows of all units, in their order, as the newest version of each table."""
    with lean():
        return {
            name: write_table(
                TABLES[name],
                pa.RecordBatchReader.from_batches(schema, (batch for unit in taken for batch in unit.batches(name))),
            )
            for name, schema in SCHEMAS.items()
        }


def main() -> None:
    """Read all sources, write conversations, preferences, quarantine and origins, and the pin.

    Raises:
        SourceError: a source is not as it was observed, or has not the columns that are named for it.
    """
    params = load_params("ingest", IngestParams)
    with stage_run("ingest", params) as tracked:
        by_source = read_sources(params)
        for source in params.sources:
            _report(source, by_source[source.name])
            _look_for_columns(source, by_source[source.name])
        taken = [unit for units in by_source.values() for unit in units]
        tables = write_tables(taken)
        rejections: Counter[str] = Counter()
        for unit in taken:
            rejections.update(unit.counts["reasons"])
        facts = {name: sum(unit.counts[name] for unit in taken) for name in ("read", "mended")}
        tracked.metrics({name: pin.rows for name, pin in tables.items()} | facts)
        clear_kept()
        write_pin(Pin(stage="ingest", tables=tables, rejections=dict(sorted(rejections.items())), facts=facts))


def _report(source: Source, units: Sequence[Taken]) -> None:
    rows: Counter[str] = Counter()
    for unit in units:
        rows.update(unit.counts["rows"])
    log.info("%s: %d rows taken, %d turned away", source.name, rows["origins"], rows["quarantine"])
    if not rows:
        log.warning("%s: there is no row in it", source.name)
    elif not rows["origins"]:
        log.warning("%s: not one row fits; is its format '%s' right?", source.name, source.format)


def _look_for_columns(source: Source, units: Sequence[Taken]) -> None:
    """Warn of each file that lacks a column named for its source, and refuse a column that no file has."""
    unseen: dict[str, set[str]] = {}
    for counts in (unit.counts for unit in units if unit.counts["columns"]):
        unseen.setdefault(counts["file"], set(counts["unseen"])).intersection_update(counts["unseen"])
    for file, columns in unseen.items():
        for column in sorted(columns):
            log.warning("%s: no row of %s has the column '%s'", source.name, file, column)
    if nowhere := sorted(set.intersection(*unseen.values())) if unseen else ():
        there = next(unit.counts["columns"] for unit in units if unit.counts["columns"])
        raise SourceError(
            f"source '{source.name}' has no column '{nowhere[0]}' in any row; its first has: {', '.join(there)}; "
            "mend its 'columns' in params.yaml."
        )


if __name__ == "__main__":
    run(main)
