"""Rows of a benchmark suite from local files, in the columns that its task of lm-evaluation-harness expects."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thumbwheel.errors import GateError

Row = dict[str, Any]
ANSWER_MARK = re.compile(r"\s+Answer\d+: ")


def read_split(task: str, path: Path) -> list[Row]:
    """Return the rows of one file.

    Raises:
        GateError: the file is missing, damaged, of an unknown form, or empty.
    """
    try:
        rows = _read(task, path)
    except FileNotFoundError:
        raise GateError(f"{path} is missing; put the suite's file there, or take it out of the params.") from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise GateError(f"{path} cannot be read as rows of {task} ({type(error).__name__}: {error}).") from None
    if not rows:
        raise GateError(f"{path} has no rows; a suite needs questions.")
    return rows


def _read(task: str, path: Path) -> list[Row]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return list(pq.read_table(path).to_pylist())
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        if path.name.removesuffix(".gz").endswith(".csv"):
            if task.startswith("mmlu"):
                return [mmlu(cells) for cells in csv.reader(file)]
            return list(csv.DictReader(file))
        text = file.read()
    if path.name.removesuffix(".gz").endswith(".jsonl"):
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    else:
        rows = json.loads(text)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("not a list of objects")
    if task.startswith("arc_"):
        return [science(row) for row in rows]
    if task.startswith("ifeval"):
        return [instructed(row) for row in rows]
    return [truthful(row) for row in rows] if task.startswith("truthfulqa_mc") else rows


def mmlu(cells: list[str]) -> Row:
    """Return a line of MMLU's files: the question, four choices, and the letter of the right one."""
    question, *choices, answer = cells
    if len(choices) != 4:
        raise ValueError(f"{len(choices)} choices where four are expected")
    return {"question": question, "choices": choices, "answer": "ABCD".index(answer.strip())}


def science(row: Mapping[str, Any]) -> Row:
    """Return a question of ARC in its task's columns: as AI2's JSON Lines have it, or worded by LLM-Adapters.

    The latter (Hu et al. 2023, arXiv:2304.01933) is one text: question, `Answer1: … Answer2: …`, the answer's format.
    """
    if "instruction" in row:
        _, asked = row["instruction"].split("question: ", 1)
        question, rest = asked.split("\n\nAnswer1: ", 1)
        texts = ANSWER_MARK.split(rest.rsplit("\n\nAnswer format", 1)[0])
        labels = [str(number) for number in range(1, len(texts) + 1)]
        label = row["answer"].removeprefix("answer")
    else:
        stem = row["question"]
        choices = stem["choices"] if isinstance(stem, dict) else row["choices"]
        question, label = stem["stem"] if isinstance(stem, dict) else stem, row["answerKey"]
        if isinstance(choices, dict):
            texts, labels = choices["text"], choices["label"]
        else:
            texts, labels = [one["text"] for one in choices], [one["label"] for one in choices]
    if label not in labels:
        raise ValueError(f"the right answer {label!r} is not among {labels}")
    return {"question": question, "choices": {"text": texts, "label": labels}, "answerKey": label}


def instructed(row: Mapping[str, Any]) -> Row:
    """Return a prompt of IFEval whose instructions all name an argument, for Parquet knows no empty record."""
    return {**row, "kwargs": [{"language": None, **arguments} for arguments in row["kwargs"]]}


def truthful(row: Mapping[str, Any]) -> Row:
    """Return a row of TruthfulQA's `mc_task.json`, whose choices are keys, with choices and labels as lists."""
    found: Row = {"question": row["question"]}
    for name in ("mc1_targets", "mc2_targets"):
        targets = row[name]
        given = targets if set(targets) == {"choices", "labels"} else None
        told = sorted(targets.items(), key=lambda item: -item[1])  # the task takes the first choice for the right one
        found[name] = given or {"choices": [text for text, _ in told], "labels": [label for _, label in told]}
    return found
