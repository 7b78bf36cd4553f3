"""Show the rows that ingest turned away, and let mended ones back in.

    python -m stages.quarantine                              # a table of reasons and sources, with an example of each
    python -m stages.quarantine export --source NAME FILE    # its rows as JSONL, to be edited
    python -m stages.quarantine replay FILE                  # read edited rows again; those that fit now are let in
    python -m stages.quarantine replay --source NAME         # ask of all its rows whether they fit now, as after a
                                                             # change of params.yaml, and change nothing

What is let in stands in `data/mended/<source>.jsonl`, which ingest reads behind the source, by the source's settings:
the next turn of the wheel takes it, and whoever has the commit has the mends.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from stages.ingest import IngestParams
from stages.reading.containers import Fault, Record, parse
from stages.reading.intake import Intake
from stages.reading.sources import Source, list_files, mended_path, read
from thumbwheel.command import run
from thumbwheel.errors import SourceError
from thumbwheel.lake import read_pinned
from thumbwheel.params import load_params
from thumbwheel.records import QUARANTINE

if TYPE_CHECKING:
    from rich.table import Table

Row = dict[str, Any]
NOTES = ("mends", "was", "reason", "detail", "text")
"""Keys that an exported row has beside its own: where it stood, a mark of what stood there, why it was turned away, and
the text of a row that was no object."""


class Verdict(NamedTuple):
    """Of a row that was read again: which it is, and why it does not fit; None where it does."""

    place: str
    reason: str | None


def turned_away() -> list[Row]:
    """Return the rows in quarantine that no mended row stands for.

    Raises:
        PinError: ingest has not run.
    """
    rows = read_pinned("ingest", "quarantine", QUARANTINE).to_pylist()
    done = {source: mends(source) for source in {source_of(row) for row in rows}}
    return [row for row in rows if not _is_mended(row, done[source_of(row)])]


def source_of(row: Mapping[str, Any]) -> str:
    return str(row["source"]).partition(":")[0]


def place_of(row: Mapping[str, Any]) -> str:
    """Return `file:row` of a quarantined row."""
    return f"{str(row['source']).partition(':')[2]}:{row['line']}"


def mark_of(row: Mapping[str, Any]) -> str:
    """Return what tells a quarantined row from another that comes to stand in its place."""
    return hashlib.sha256(str(row["row"]).encode()).hexdigest()[:16]


def mends(source: str) -> dict[str, Row]:
    """Return the mended rows of a source by the places of those that they mend."""
    path = mended_path(source)
    rows = [parse(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    return {row["mends"]: row for row in rows if isinstance(row, dict) and "mends" in row}


def export(source: Source, path: Path) -> int:
    """Write the quarantined rows of a source, read again where they stand, as JSONL to edit; return how many.

    What was turned away for want of consent is not shown to anybody.
    """
    wanted = (row for row in turned_away() if source_of(row) == source.name and row["reason"] != "no_consent")
    rows = {place_of(row): row for row in wanted}
    found = ((f"{file}:{record.row}", record) for file, record in _records(source))
    lines = [_exported(place, rows[place], record, source) for place, record in found if place in rows]
    path.write_text("".join(f"{line}\n" for line in lines))
    return len(lines)


def check(source: Source, rows: Iterable[tuple[str, Any]], params: IngestParams) -> list[Verdict]:
    """Read rows again, by their source's settings: each a place and a record."""
    verdicts = []
    for place, value in rows:
        intake = Intake(source, place.rpartition(":")[0], params.of_rows())
        reasons = [
            reason
            for tables in intake.take([Record(0, value)])
            if "quarantine" in tables
            for reason in tables["quarantine"]["reason"].to_pylist()
        ]
        verdicts.append(Verdict(place, reasons[0] if reasons else None))
    return verdicts


def replay(path: Path, params: IngestParams) -> list[Verdict]:
    """Read edited rows again and let in those that fit, in the place of what was let in for the same rows before.

    Raises:
        SourceError: the file is missing, or a line of it does not say which row of which source it mends.
    """
    verdicts = []
    for source, rows in _edited(path, params.sources):
        own = {place: _own(row, source) for place, row in rows.items()}
        told = check(source, own.items(), params)
        fit = {
            place: {"mends": place, "was": rows[place].get("was"), **own[place]}
            for place, reason in told
            if reason is None
        }
        if fit:
            _let_in(source.name, mends(source.name) | fit)
        verdicts += told
    return verdicts


def named(name: str, sources: Sequence[Source]) -> Source:
    """Return a source by its name.

    Raises:
        SourceError: there is none of that name.
    """
    for source in sources:
        if source.name == name:
            return source
    raise SourceError(f"there is no source '{name}' in params.yaml; there are: {', '.join(s.name for s in sources)}.")


def table(rows: Sequence[Row]) -> Table:
    """Return how many rows there are for each reason and source, with an example of each."""
    from rich.markup import escape
    from rich.table import Table

    counts = Counter((row["reason"], source_of(row)) for row in rows)
    examples = {(row["reason"], source_of(row)): row for row in reversed(rows)}
    shown = Table("reason", "source", "rows", "example", "why", "row", title=f"{len(rows)} rows turned away")
    for (reason, source), count in counts.most_common():
        example = examples[reason, source]
        texts = (reason, source, str(count), place_of(example), example["detail"], example["row"])
        shown.add_row(*(escape(" ".join(str(text or "").split())[:120]) for text in texts))
    return shown


def _is_mended(row: Row, done: Mapping[str, Row]) -> bool:
    """Tell whether a mended row stands for this one, and not for another that stood in its place before."""
    mend = done.get(place_of(row))
    return mend is not None and mend.get("was") in (None, mark_of(row))


def _records(source: Source) -> Iterator[tuple[str, Record]]:
    for file in list_files(source):
        for record in read(file):
            yield str(file["uri"]), record


def _notes_for(source: Source) -> set[str]:
    """Return the keys of our notes on a source's rows: all that are no column which is read of them."""
    return set(NOTES).difference(*((column, column.partition(".")[0]) for column in source.columns.values()))


def _exported(place: str, row: Row, record: Record, source: Source) -> str:
    notes = {
        "mends": f"{source_of(row)}:{place}",
        "was": mark_of(row),
        "reason": row["reason"],
        "detail": row["detail"],
    }
    value = record.value.text if isinstance(record.value, Fault) else record.value
    own = value if isinstance(value, dict) else {"text": value}
    beside = {name: notes[name] for name in notes if name in _notes_for(source)}
    return json.dumps({**own, **beside}, ensure_ascii=True, default=str)


def _edited(path: Path, sources: Sequence[Source]) -> list[tuple[Source, dict[str, Row]]]:
    """Return edited rows, with our notes, by source and place."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror}); write it with: quarantine export.") from None
    edited: dict[str, dict[str, Row]] = {}
    for number, line in enumerate(lines, 1):
        row = parse(line)
        if not isinstance(row, dict) or ":" not in str(row.get("mends", "")):
            raise SourceError(f"{path}, line {number}: not a row that was exported; it must keep its key 'mends'.")
        name, _, place = str(row["mends"]).partition(":")
        edited.setdefault(name, {})[place] = row
    return [(named(name, sources), rows) for name, rows in edited.items()]


def _own(row: Row, source: Source) -> Row:
    """Return a row without our notes; what was no object and was edited in `text` is read as JSON."""
    own = {key: value for key, value in row.items() if key not in _notes_for(source)}
    if own.keys() <= {"text"} and isinstance(value := parse(str(row.get("text", "")).encode("utf-8", "replace")), dict):
        return value
    return own


def _let_in(source: str, rows: Mapping[str, Row]) -> None:
    path = mended_path(source)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text("".join(f"{json.dumps(row, ensure_ascii=True)}\n" for _, row in sorted(rows.items())))
    part.replace(path)


def _say(verdicts: Sequence[Verdict], what_now: str) -> None:
    fit = sum(verdict.reason is None for verdict in verdicts)
    print(f"{fit} of {len(verdicts)} rows fit now; {what_now}")
    for reason, count in Counter(v.reason for v in verdicts if v.reason).most_common():
        print(f"  {reason}: {count}, such as {next(v.place for v in verdicts if v.reason == reason)}")


def main() -> None:
    """Show, export or replay, as the arguments say."""
    from rich.console import Console

    arguments = _arguments()
    params = load_params("ingest", IngestParams)
    if arguments.what == "export":
        count = export(named(arguments.source, params.sources), arguments.file)
        print(f"{count} rows in {arguments.file}; edit them, then: python -m stages.quarantine replay {arguments.file}")
    elif arguments.what == "replay" and arguments.file:
        _say(replay(arguments.file, params), "they get in with the next turn.")
    elif arguments.what == "replay":
        source = named(arguments.source, params.sources)
        places = {place_of(row) for row in turned_away() if source_of(row) == source.name}
        again = ((f"{file}:{record.row}", record.value) for file, record in _records(source))
        _say(check(source, (row for row in again if row[0] in places), params), "observe and ingest take them.")
    else:
        Console(highlight=False).print(table(turned_away()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    what = parser.add_subparsers(dest="what")
    exported = what.add_parser("export", help="write a source's quarantined rows as JSONL")
    exported.add_argument("--source", required=True)
    exported.add_argument("file", type=Path)
    replayed = what.add_parser("replay", help="read rows again")
    replayed.add_argument("--source")
    replayed.add_argument("file", type=Path, nargs="?")
    arguments = parser.parse_args()
    if arguments.what == "replay" and (arguments.file is None) == (arguments.source is None):
        parser.error("replay wants a FILE or --source NAME")
    return arguments


if __name__ == "__main__":
    run(main)
