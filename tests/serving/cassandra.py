"""A session of the Cassandra driver that carries out the statements of `history_cassandra` over dictionaries.

Statements are bound and encoded by the driver itself, with the types of `history.cql`. What a cluster would refuse is
refused: an unknown table or column, a row without its whole key, a question that does not name the whole partition key,
or skips a clustering column.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cassandra import InvalidRequest, OperationTimedOut
from cassandra.cqltypes import Int32Type, TimeUUIDType, UTF8Type
from cassandra.query import BatchStatement, PreparedStatement

import serving

SCHEMA = (Path(serving.__file__).parent / "history.cql").read_text()
TYPES = {"text": UTF8Type, "timeuuid": TimeUUIDType, "int": Int32Type}
PROTOCOL = 4
FORMS = (
    r"INSERT INTO (?P<table>\w+) \((?P<columns>.*)\) VALUES \((?P<marks>.*)\)",
    r"SELECT (?P<columns>.*) FROM (?P<table>\w+) WHERE (?P<where>.*)",
    r"DELETE FROM (?P<table>\w+) WHERE (?P<where>.*)",
)

Row = dict[str, Any]


class Column(NamedTuple):
    keyspace_name: str
    table_name: str
    name: str
    type: Any


@dataclass
class Table:
    columns: dict[str, Any]
    partition: list[str]
    clustering: list[str]
    rows: dict[tuple[Any, ...], Row]

    @property
    def key(self) -> list[str]:
        return [*self.partition, *self.clustering]


def tables(schema: str) -> dict[str, Table]:
    """Return the tables of a schema, empty."""
    found = {}
    for name, body in re.findall(r"CREATE TABLE IF NOT EXISTS thumbwheel\.(\w+) \((.*?)\n\)", schema, re.DOTALL):
        key = re.search(r"PRIMARY KEY \(\(([^)]*)\)(?:, ([^)]*))?\)", body)
        assert key
        columns = dict(re.findall(r"^    (\w+) (text|timeuuid|int),$", body, re.MULTILINE))
        typed = {column: TYPES[kind] for column, kind in columns.items()}
        found[name] = Table(typed, key[1].split(", "), key[2].split(", ") if key[2] else [], {})
    return found


class FakeSession:
    """`down` makes every call fail as a cluster that is away does; `said` is the CQL that was carried out."""

    def __init__(self) -> None:
        self.tables = tables(SCHEMA)
        self.said: list[str] = []
        self.down = False

    def prepare(self, query: str) -> PreparedStatement:
        form = self._form(query)
        table = self.tables[form["table"]]
        bound = form["columns"].split(", ") if "marks" in form else _asked(form["where"])
        columns = [Column("thumbwheel", form["table"], name, table.columns[name]) for name in bound]
        return PreparedStatement(columns, query.encode(), None, query, "thumbwheel", PROTOCOL, None, None)

    def execute(self, statement: Any, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        if self.down:
            raise OperationTimedOut("nobody answers")
        if not isinstance(statement, BatchStatement):
            return self._run(statement.query_string, statement.bind(values).values)
        for _, query, encoded in statement._statements_and_parameters:
            self._run(query.decode(), encoded)
        return []

    def _form(self, query: str) -> dict[str, str]:
        for form in FORMS:
            if match := re.fullmatch(form, query):
                found = match.groupdict()
                columns = found.get("columns", "").split(", ") if "columns" in found else []
                if found["table"] not in self.tables or not set(columns) <= set(self.tables[found["table"]].columns):
                    raise InvalidRequest(f"unknown table or column in: {query}")
                return found
        raise InvalidRequest(f"cannot read: {query}")

    def _run(self, query: str, encoded: list[bytes | None]) -> list[tuple[Any, ...]]:
        self.said.append(query)
        form, prepared = self._form(query), self.prepare(query)
        table = self.tables[form["table"]]
        values = {
            column.name: None if raw is None else column.type.from_binary(raw, PROTOCOL)
            for column, raw in zip(prepared.column_metadata, encoded, strict=True)
        }
        if "marks" in form:
            return self._insert(table, values)
        found = self._where(table, values)
        if "columns" in form:
            return [tuple(row[name] for name in form["columns"].split(", ")) for row in found]
        for row in found:
            del table.rows[tuple(row[name] for name in table.key)]
        return []

    def _insert(self, table: Table, values: Row) -> list[tuple[Any, ...]]:
        key = tuple(values.get(name) for name in table.key)
        if None in key:
            raise InvalidRequest("a part of the key is missing")
        table.rows[key] = dict.fromkeys(table.columns) | values
        return []

    def _where(self, table: Table, wanted: Row) -> list[Row]:
        asked = list(wanted)
        if asked != table.key[: len(asked)] or len(asked) < len(table.partition):
            raise InvalidRequest(f"{asked} does not begin with the whole partition key")
        found = [row for row in table.rows.values() if all(row[name] == value for name, value in wanted.items())]
        return sorted(found, key=lambda row: [getattr(row[name], "time", row[name]) for name in table.key])


def _asked(clause: str) -> list[str]:
    return [part.removesuffix(" = ?") for part in clause.split(" AND ")]
