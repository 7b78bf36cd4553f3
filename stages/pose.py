"""Read the evaluation sets into one table of questions, checked row by row: a faulty question stops the stage.

    python -m stages.pose

Our own files, MT-Bench's `question.jsonl` with its reference answers, and LLMBar's pairs are read as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from stages.reading.files import Fault, find_files, read_records
from thumbwheel.command import run
from thumbwheel.errors import SourceError
from thumbwheel.lake import Pin, write_pin, write_table
from thumbwheel.params import Params, load_params
from thumbwheel.records import QUESTION, to_table
from thumbwheel.settings import settings
from thumbwheel.tracking import stage_run

FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
TITLE = re.compile(r'^title:\s*"?(.*?)"?\s*$', re.MULTILINE)
LABELS = ("a", "b", "tie")

Documents = Mapping[str, str]


class QuestionSet(Params):
    """One evaluation set: `kind` says how its rows are read and what they are good for."""

    name: str
    kind: Literal["mt_bench", "qa", "golden", "jailbreak", "benign", "trial"]
    uri: str
    references: str | None
    """MT-Bench keeps its reference answers in a file of their own."""


class PoseParams(Params):
    sets: list[QuestionSet]
    knowledge: str
    """Folder of the documents that answer `qa` questions, one Markdown file a document."""


def list_files(item: QuestionSet, knowledge: str) -> list[dict[str, Any]]:
    """Return the files that a set is read from, its references and documents too, with marks of their content.

    Raises:
        SourceError: nothing is there.
    """
    places = [item.uri, *([item.references] if item.references else [])]
    if item.kind == "qa":
        places.append(f"{knowledge}/*.md")
    return [file for place in places for file in find_files(place)]


def read_set(item: QuestionSet, documents: Documents) -> list[dict[str, Any]]:
    """Return the rows of `QUESTION` of one set, in the order of its files.

    Raises:
        SourceError: a row does not fit, naming file and line, or two rows have one id.
    """
    references = _references(item.references)
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    for place, value in _records(item.uri):
        try:
            row = {"set": item.name, "kind": item.kind, **READERS[item.kind](value, documents)}
            if row["id"] in seen:
                raise ValueError(f"id {row['id']} stands there twice")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SourceError(f"{place}: not a question of kind '{item.kind}': {_say(error)}.") from None
        seen.add(row["id"])
        rows.append({**row, "reference": references.get(row["id"], row["reference"])})
    if not rows:
        raise SourceError(f"question set '{item.name}' ({item.uri}) is empty; fill it or remove it from params.yaml.")
    return rows


def mt_bench(row: Mapping[str, Any], documents: Documents) -> dict[str, Any]:
    """`{"question_id", "category", "turns", "reference"?}`."""
    return _question(str(row["question_id"]), row["category"], row["turns"], row.get("reference") or [])


def qa(row: Mapping[str, Any], documents: Documents) -> dict[str, Any]:
    """`{"id", "category", "question", "reference", "documents"}`: the context is the documents' text."""
    context = [_document(name, documents) for name in row["documents"]]
    return _question(row["id"], row["category"], [row["question"]], [row["reference"]]) | {"context": context}


def golden(row: Mapping[str, Any], documents: Documents) -> dict[str, Any]:
    """`{"id", "messages", "must_contain", "must_not_contain"}`: what is demanded stands in `label`, as JSON."""
    turns = [message["content"] for message in row["messages"] if message["role"] == "user"]
    demands = {name: _texts(row[name]) for name in ("must_contain", "must_not_contain")}
    if not any(demands.values()):
        raise ValueError("it demands nothing")
    return _question(row["id"], "golden", turns, []) | {"label": json.dumps(demands, ensure_ascii=False)}


def prompt(row: Mapping[str, Any], documents: Documents) -> dict[str, Any]:
    """`{"id", "category", "prompt"}`."""
    return _question(row["id"], row["category"], [row["prompt"]], [])


def trial(row: Mapping[str, Any], documents: Documents) -> dict[str, Any]:
    """`{"id", "category", "prompt", "a", "b", "label"}`, or LLMBar's `{"input", "output_1", "output_2", "label"}`."""
    if "output_1" in row:
        sides = {"a": row["output_1"], "b": row["output_2"], "label": LABELS[int(row["label"]) - 1]}
        return _question(str(row["row"]), "llmbar", [row["input"]], []) | _trial_sides(sides)
    sides = {name: row[name] for name in ("a", "b", "label")}
    return _question(row["id"], row.get("kind", row["category"]), [row["prompt"]], []) | _trial_sides(sides)


READERS: dict[str, Callable[[Mapping[str, Any], Documents], dict[str, Any]]] = {
    "mt_bench": mt_bench,
    "qa": qa,
    "golden": golden,
    "jailbreak": prompt,
    "benign": prompt,
    "trial": trial,
}


def read_documents(folder: str) -> dict[str, str]:
    """Return the documents of a folder by the stem of their name: title, blank line, text without front matter."""
    documents = {}
    for path in sorted((settings().root / folder).glob("*.md")):
        text = path.read_text(encoding="utf-8")
        head = FRONT_MATTER.match(text)
        title = TITLE.search(head.group(1)) if head else None
        body = text[head.end() :].strip() if head else text.strip()
        documents[path.stem] = f"{title.group(1)}\n\n{body}" if title else body
    return documents


def main() -> None:
    """Read every set and write the table of questions and the pin."""
    params = load_params("pose", PoseParams)
    with stage_run("pose", params) as tracked:
        documents = read_documents(params.knowledge)
        rows = [row for item in params.sets for row in read_set(item, documents)]
        counts = {item.name: sum(row["set"] == item.name for row in rows) for item in params.sets}
        tables = {"questions": write_table("questions", to_table(rows, QUESTION))}
        tracked.metrics(counts)
        write_pin(Pin(stage="pose", tables=tables, facts={"questions": counts}))


def _records(uri: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for file in find_files(uri):
        for record in read_records(file["uri"]):
            place = f"{file['uri']}, line {record.row + 1}"
            if isinstance(record.value, Fault):
                raise SourceError(f"{place}: {record.value.reason}: {record.value.detail}.")
            if not isinstance(record.value, Mapping):
                raise SourceError(f"{place}: not an object.")
            yield place, {"row": f"{Path(file['uri']).stem}-{record.row}", **record.value}


def _references(uri: str | None) -> dict[str, list[str]]:
    """Return MT-Bench's reference answers by question id: `{"question_id", "choices": [{"turns"}]}`."""
    if uri is None:
        return {}
    found = {}
    for place, row in _records(uri):
        try:
            found[str(row["question_id"])] = _texts(row["choices"][0]["turns"], blank=True)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise SourceError(f"{place}: not a reference answer of MT-Bench: {_say(error)}.") from None
    return found


def _question(id: str, category: str, turns: list[str], reference: list[str]) -> dict[str, Any]:
    if not isinstance(id, str) or not id or not isinstance(category, str):
        raise ValueError("id and category must be text")
    if not turns:
        raise ValueError("there is no turn")
    return {
        "id": id,
        "category": category,
        "turns": _texts(turns),
        "reference": _texts(reference, blank=True),
        "context": [],
        "a": None,
        "b": None,
        "label": None,
    }


def _trial_sides(sides: dict[str, str]) -> dict[str, str]:
    _texts([sides["a"], sides["b"]])
    if sides["label"] not in LABELS:
        raise ValueError(f"label {sides['label']!r} is none of {', '.join(LABELS)}")
    return sides


def _texts(values: Any, blank: bool = False) -> list[str]:
    """Return a list of texts, once it is one; `blank` allows empty ones, which MT-Bench's references hold."""
    if not isinstance(values, list) or not all(isinstance(v, str) and (blank or v.strip()) for v in values):
        raise ValueError(f"not a list of {'' if blank else 'non-empty '}texts: {str(values)[:80]}")
    return list(values)


def _document(name: str, documents: Documents) -> str:
    if name not in documents:
        raise ValueError(f"there is no document '{name}' in the knowledge folder")
    return documents[name]


def _say(error: Exception) -> str:
    return f"missing key {error}" if isinstance(error, KeyError) else str(error)


if __name__ == "__main__":
    run(main)
