"""Tables from verdicts: grades and win rates by question, category and turn, as MT-Bench reports them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eval.ruling import resolve
from thumbwheel.records import SIDES

Row = Mapping[str, Any]
Key = tuple[str, str]
POINTS = {"candidate": 1.0, "tie": 0.5, "champion": 0.0}


def grades(verdicts: Iterable[Row], kind: str = "single") -> dict[tuple[str, str, str], float | None]:
    """Return the mean grade over the turns of each question and side; None where a turn failed."""
    turns: dict[tuple[str, str, str], list[float | None]] = {}
    for row in verdicts:
        if row["kind"] == kind:
            turns.setdefault((row["set"], row["question"], row["side"]), []).append(row["score"])
    return {key: mean(scores) for key, scores in turns.items()}


def win_rates(verdicts: Iterable[Row]) -> dict[Key, float | None]:
    """Return the candidate's points of each question, over its turns: win 1, tie or flip a half, loss 0."""
    orders: dict[tuple[str, str, int], list[Row]] = {}
    for row in verdicts:
        if row["kind"] == "pairwise":
            orders.setdefault((row["set"], row["question"], row["turn"]), []).append(row)
    points: dict[Key, list[float | None]] = {}
    for (name, question, _), rows in orders.items():
        said = [row["winner"] for row in rows if row["error"] is None]
        points.setdefault((name, question), []).append(POINTS[resolve(*said)[0]] if len(said) == 2 else None)
    return {key: mean(values) for key, values in points.items()}


def people_points(verdicts: Iterable[Row]) -> dict[Key, float]:
    """Return the candidate's points of each question by people, several of them averaged."""
    points: dict[Key, list[float]] = {}
    for row in verdicts:
        if row["kind"] == "human":
            points.setdefault((row["set"], row["question"]), []).append(POINTS[row["winner"]])
    return {key: sum(values) / len(values) for key, values in points.items()}


def by_category(categories: Mapping[Key, str], verdicts: Sequence[Row]) -> list[dict[str, Any]]:
    """Return grades and win rate of each category of the judged sets, over both turns and for each of them."""
    judged = _judged(verdicts)
    names = sorted({categories[row["set"], row["question"]] for row in judged})
    return [
        table_line(name, [row for row in judged if categories[row["set"], row["question"]] == name]) for name in names
    ]


def overall(verdicts: Sequence[Row]) -> dict[str, Any] | None:
    """Return the line of all categories together, None where nothing was judged."""
    judged = _judged(verdicts)
    return table_line("all", judged) if judged else None


def table_line(name: str, verdicts: Sequence[Row]) -> dict[str, Any]:
    """Return one line of the table: all turns together, then `turns`, one entry a turn."""
    count = len({(row["set"], row["question"]) for row in verdicts})
    turns = [_means([row for row in verdicts if row["turn"] == t]) for t in sorted({row["turn"] for row in verdicts})]
    return {"category": name, "questions": count, **_means(verdicts), "turns": turns}


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean, or None where a value is missing."""
    whole = [value for value in values if value is not None]
    return sum(whole) / len(whole) if whole and len(whole) == len(values) else None


def _judged(verdicts: Sequence[Row]) -> list[Row]:
    return [row for row in verdicts if row["kind"] in ("single", "pairwise")]


def _means(verdicts: Sequence[Row]) -> dict[str, float | None]:
    """Return each side's mean grade and the win rate, over what could be measured."""
    found = grades(verdicts)
    line = {side: mean([g for (*_, whose), g in found.items() if whose == side and g is not None]) for side in SIDES}
    return line | {"win_rate": mean([rate for rate in win_rates(verdicts).values() if rate is not None])}
