"""Replace personal data and secrets in conversations, the sources' pairs and the feedback's, or turn such rows away.

    python -m stages.scrub

A row keeps the id that it was ingested under, so that every later table can be traced back to its origin; the id is
therefore not the hash of the scrubbed text. Neither the log nor any table holds a value that was replaced.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import field_validator

from stages.evidence import opinion_of
from thumbwheel.command import run
from thumbwheel.errors import SettingsError
from thumbwheel.lake import Pin, read_pinned, write_pin, write_table
from thumbwheel.params import Params, load_params
from thumbwheel.pii import KINDS, NAME_KINDS, Kind, Mode, Pseudonyms, Redactor, find
from thumbwheel.pii.names import goes_to_a_model
from thumbwheel.pii.pseudonyms import key_name
from thumbwheel.records import CONVERSATION, FEEDBACK, PREFERENCE, THUMB, to_table
from thumbwheel.settings import settings
from thumbwheel.tracking import stage_run

log = logging.getLogger(__name__)

FINDINGS = pa.schema([("id", pa.string()), ("table", pa.string()), ("kind", pa.string()), ("count", pa.int64())])
"""How many findings of each kind there were in a row; never what they were."""
NAMES = frozenset(NAME_KINDS)
MIN_KEY = 16
"""Characters of a key of pseudonyms."""
TEXTS = {
    "conversations": ("messages",),
    "preferences": ("prompt", "chosen", "rejected"),
    "unpaired": ("prompt", "reply"),
}
"""The columns of a row that hold what people and assistants said."""
LABELS = ("licence", "lang", "topic", "model")
"""Columns that a source may fill with any words."""


class ScrubParams(Params):
    kinds: dict[Kind, Mode]
    """What is looked for, and what becomes of it."""
    regions: tuple[str, ...]
    """Countries, ISO 3166, whose phone numbers are recognised without a country code."""
    allow: tuple[str, ...]
    """Regular expressions of whole values that stay: the company's own addresses and numbers."""

    @field_validator("regions")
    @classmethod
    def _regions_are_known(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        """`UK` is no code of ISO 3166, and would quietly find nothing."""
        from phonenumbers import SUPPORTED_REGIONS

        if strange := sorted(set(regions) - SUPPORTED_REGIONS):
            raise ValueError(f"no country has the code {', '.join(strange)}; codes are those of ISO 3166, such as GB")
        return regions

    @field_validator("allow")
    @classmethod
    def _allow_can_be_matched(cls, allow: tuple[str, ...]) -> tuple[str, ...]:
        for expression in allow:
            try:
                re.compile(expression, re.IGNORECASE)
            except re.error as error:
                raise ValueError(f"'{expression}' is no regular expression: {error}") from None
        return allow


@dataclass
class Scrubbed:
    """A table after scrubbing: rows that stay, and what was found in all of them."""

    table: pa.Table
    findings: list[dict[str, Any]] = field(default_factory=list)
    rejections: Counter[str] = field(default_factory=Counter)
    """Rows turned away, by reason: `pii_` and the kind."""
    texts_to_model: int = 0
    """Texts that went to a language model, where names are asked for."""


class Scrubber:
    """Scrubs tables by parameters; `key` makes the pseudonyms, where there are any."""

    def __init__(self, params: ScrubParams, key: bytes | None = None) -> None:
        self.params, self.key = params, key
        self._modes: dict[str, Mode] = dict(params.kinds.items())
        self._allow = tuple(re.compile(p, re.IGNORECASE) for p in params.allow)

    def scrub(self, table: pa.Table, name: str) -> Scrubbed:
        """Return a table of `TEXTS` with its texts redacted; a value keeps its name through a row."""
        table, found = self.without_telling_labels(table, name)
        rows = row_texts(table, TEXTS[name])
        scrubbed = Scrubbed(table, found)
        if not NAMES.isdisjoint(self._modes):
            scrubbed.texts_to_model = sum(goes_to_a_model(text, self._modes) for texts in rows for text in texts)
        stays = [True] * table.num_rows
        ids = table["id"].to_pylist()
        for i, texts in enumerate(rows):
            if not any(find(text, self._modes, self.params.regions) for text in texts):
                continue
            redactor = self.redactor(ids[i])
            rows[i] = redactor.redact_all(texts)
            scrubbed.findings += findings(ids[i], name, redactor.counts)
            if redactor.refused:
                stays[i] = False
                scrubbed.rejections[f"pii_{redactor.refused}"] += 1
        if scrubbed.findings:
            scrubbed.table = with_texts(table, TEXTS[name], rows).filter(pa.array(stays))
        return scrubbed

    def without_telling_labels(self, table: pa.Table, name: str) -> tuple[pa.Table, list[dict[str, Any]]]:
        """Return a table without the labels that tell anything personal, and the findings in them.

        A label goes as a whole, whatever its kind's mode. Names are not looked for: a licence is no organisation.
        """
        found: list[dict[str, Any]] = []
        for column in [label for label in LABELS if label in table.column_names]:
            labels = table[column].unique().drop_null().to_pylist()
            if not (counts := {label: told for label in labels if (told := self._counts(label))}):
                continue
            is_telling = pc.is_in(table[column], pa.array(list(counts), pa.string()))
            for row, label in zip(*table.filter(is_telling).select(["id", column]).columns, strict=True):
                found += findings(row.as_py(), name, counts[label.as_py()])
            bare = pc.if_else(is_telling, None, table[column])
            table = table.set_column(table.schema.get_field_index(column), table.schema.field(column), bare)
        return table, found

    def _counts(self, label: str) -> dict[str, int]:
        patterns: dict[str, Mode] = {kind: "placeholder" for kind in self._modes if kind not in NAMES}
        redactor = Redactor(patterns, self.params.regions, self._allow)
        redactor.redact(label)
        return redactor.counts

    def redactor(self, row: str) -> Redactor:
        """Return a redactor for one row, which is one conversation."""
        pseudonyms = Pseudonyms(self.key, row) if self.key else None
        return Redactor(self._modes, self.params.regions, self._allow, pseudonyms)


def findings(row: str, table: str, counts: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """Yield the rows of `FINDINGS` for one redacted row."""
    for kind, count in sorted(counts.items()):
        yield {"id": row, "table": table, "kind": kind, "count": count}


def row_texts(table: pa.Table, columns: Sequence[str]) -> list[list[str]]:
    """Return the texts of each row, columns in their order; a column holds a text or a list of messages."""
    rows: list[list[str]] = [[] for _ in range(table.num_rows)]
    for name in columns:
        column = table[name].combine_chunks()
        if pa.types.is_list(column.type):
            texts = column.flatten().field("content").to_pylist()
            ends = pc.cumulative_sum(column.value_lengths()).to_pylist()
            for row, start, end in zip(rows, [0, *ends], ends, strict=False):
                row += texts[start:end]
        else:
            for row, text in zip(rows, column.to_pylist(), strict=True):
                row.append(text)
    return rows


def with_texts(table: pa.Table, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> pa.Table:
    """Return `table` with the texts of `rows`, as `row_texts` gives them, in place of its own."""
    taken = [0] * table.num_rows
    for name in columns:
        column = table[name].combine_chunks()
        messages = pa.types.is_list(column.type)
        lengths = column.value_lengths().to_pylist() if messages else [1] * table.num_rows
        texts = [text for row, at, n in zip(rows, taken, lengths, strict=True) for text in row[at : at + n]]
        taken = [at + n for at, n in zip(taken, lengths, strict=True)]
        column = _messages(column, texts) if messages else pa.array(texts, column.type)
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
    return table


def pseudonym_key(params: ScrubParams) -> bytes | None:
    """Return the key of the pseudonyms, None where no kind has any.

    Raises:
        SettingsError: a kind is to have pseudonyms, and the key is missing or short enough to be guessed.
    """
    if "pseudonym" not in params.kinds.values():
        return None
    key = settings().pseudonym_key
    if key is None or len(key.get_secret_value()) < MIN_KEY:
        raise SettingsError(
            f"THUMBWHEEL_PSEUDONYM_KEY is {'shorter than ' + str(MIN_KEY) + ' characters' if key else 'not set'}, and "
            f"scrub.kinds asks for pseudonyms; set it to a secret such as `openssl rand -hex 32` prints."
        )
    return key.get_secret_value().encode()


def main() -> None:
    """Scrub both tables of `dedup`, the pairs and the thumbs; write them, what was found, and the pin."""
    params = load_params("scrub", ScrubParams)
    key = pseudonym_key(params)
    with stage_run("scrub", params) as tracked:
        scrubber = Scrubber(params, key)
        sources = {
            "conversations": read_pinned("dedup", "conversations"),
            "preferences": _pairs(),
            "unpaired": _thumbs(),
        }
        done = {name: _timed(scrubber, table, name) for name, table in sources.items()}
        found = [finding for each in done.values() for finding in each.findings]
        tables = {
            "conversations": write_table("scrub_conversations", done["conversations"].table.cast(CONVERSATION)),
            "preferences": write_table("scrub_preferences", done["preferences"].table.cast(PREFERENCE)),
            "unpaired": write_table("scrub_unpaired", done["unpaired"].table.cast(THUMB)),
            "findings": write_table("scrub_findings", to_table(found, FINDINGS)),
        }
        counts, rejections = _counted(found), sum((each.rejections for each in done.values()), Counter[str]())
        sent = sum(each.texts_to_model for each in done.values())
        tracked.metrics({**counts, **rejections, "texts_to_language_model": sent})
        facts = {
            "findings": dict.fromkeys(sorted(params.kinds), 0) | counts,
            "not_looked_for": [kind for kind in (*KINDS, *NAME_KINDS) if kind not in params.kinds],
            "thumbs_turned_away": dict(sorted(done["unpaired"].rejections.items())),
        } | ({"pseudonym_key": key_name(key)} if key else {})
        write_pin(Pin(stage="scrub", tables=tables, rejections=dict(sorted(rejections.items())), facts=facts))


def _timed(scrubber: Scrubber, table: pa.Table, name: str) -> Scrubbed:
    began = time.process_time()
    done = scrubber.scrub(table, name)
    found = sum(_counted(done.findings).values())
    rate = table.num_rows / max(time.process_time() - began, 1e-9)
    log.info("%s: %d findings in %d rows, %.0f rows a CPU-second", name, found, table.num_rows, rate)
    if done.texts_to_model:
        log.info("%s: %d texts went to a language model", name, done.texts_to_model)
    return done


def _counted(found: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many findings there were of each kind."""
    counts: Counter[str] = Counter()
    for row in found:
        counts[row["kind"]] += row["count"]
    return dict(sorted(counts.items()))


def _pairs() -> pa.Table:
    """The sources' pairs and the feedback's; an id in both is one pair."""
    both = pa.concat_tables(
        [read_pinned(stage, "preferences").select(PREFERENCE.names) for stage in ("dedup", "pairs")]
    ).combine_chunks()
    last = {row: i for i, row in enumerate(both["id"].to_pylist())}
    return both.take(pa.array(last.values(), pa.int64()))


def _thumbs() -> pa.Table:
    """The feedback of which no pair was made, as thumbs."""
    events = read_pinned("pairs", "unpaired").to_pylist()
    kept = [name for name in THUMB.names if name in FEEDBACK.names]
    rows = ({"id": e["event_id"], "liked": opinion_of(e) == "up"} | {name: e[name] for name in kept} for e in events)
    return to_table(rows, THUMB)


def _messages(column: pa.ListArray, texts: Sequence[str]) -> pa.ListArray:
    """Return a column of messages with other texts in them."""
    flat = column.flatten()
    said = pa.StructArray.from_arrays([flat.field("role"), pa.array(texts, pa.string())], ["role", "content"])
    ends = pc.cumulative_sum(pa.concat_arrays([pa.array([0], pa.int32()), column.value_lengths()]))
    return pa.ListArray.from_arrays(ends, said)


if __name__ == "__main__":
    run(main)
