"""People's verdicts on pairs of answers: one JSON object a line, checked against the answers that are being judged.

`{"set", "question", "candidate", "champion", "winner", "rater"}`: which bundles' answers were shown, and which won
(`candidate`, `champion` or `tie`). A verdict counts only for those very bundles: last week's say nothing of these.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from eval.mt_bench import POINTS
from eval.plan import verdict
from eval.trial import Case
from thumbwheel.errors import JudgeError
from thumbwheel.records import SIDES

FIELDS = ("set", "question", "candidate", "champion", "winner", "rater")
Key = tuple[str, str]
LETTERS = {"candidate": "a", "champion": "b", "tie": "tie"}
"""A winner as the judge's trial names it; what is none of them was no verdict."""


def read_people(
    text: str, place: str, judged: Collection[Key], bundles: Mapping[str, str]
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return the verdict rows (kind `human`) that hold for these answers, and how many do not, by reason.

    Reasons: `other_bundles`, `unknown_question` and `repeated_rater` (a rater's first word on a question counts).

    Raises:
        JudgeError: a line is no verdict; the message names it.
    """
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    rejected: Counter[str] = Counter()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        one = _parse(line, f"{place}, line {number}")
        key = (one["set"], one["question"], one["rater"])
        if reason := _unfit(one, key in rows, judged, bundles):
            rejected[reason] += 1
        else:
            row = verdict("human", {"set": one["set"], "id": one["question"]}, 0)
            rows[key] = row | {"winner": one["winner"], "score": POINTS[one["winner"]], "judge": one["rater"]}
    return [rows[key] for key in sorted(rows)], dict(rejected)


def people_cases(rows: Iterable[Mapping[str, Any]], sides: Mapping[Key, Mapping[str, Any]]) -> list[Case]:
    """Return the questions on which both people and the judge spoke as cases of its trial: A is the candidate.

    People's label is what most of them said, a tie where no side has more; the judge's word is that on the last turn,
    which it gave with the whole conversation before it.
    """
    said: dict[Key, Counter[str]] = {}
    judged: dict[Key, dict[tuple[int, str], str | None]] = {}
    for row in rows:
        key = (row["set"], row["question"])
        if row["kind"] == "human":
            said.setdefault(key, Counter())[row["winner"]] += 1
        elif row["kind"] == "pairwise":
            judged.setdefault(key, {})[row["turn"], row["order"]] = row["winner"]
    return [_case(key, said[key], judged[key], sides[key]) for key in sorted(set(said) & set(judged))]


def _case(
    key: Key, said: Counter[str], judged: Mapping[tuple[int, str], str | None], both: Mapping[str, Any]
) -> Case:  # fmt: skip
    last = max(turn for turn, _ in judged)
    a_first, b_first = (LETTERS.get(str(judged.get((last, order)))) for order in ("ab", "ba"))
    lengths = [sum(map(len, both[side]["replies"])) for side in SIDES]
    lead = said["candidate"] - said["champion"]
    label = "tie" if lead == 0 or said["tie"] > max(said["candidate"], said["champion"]) else "a" if lead > 0 else "b"
    return Case(key[1], key[0], label, lengths[0] > lengths[1], a_first, b_first)


def _unfit(
    one: Mapping[str, str], repeated: bool, judged: Collection[Key], bundles: Mapping[str, str]
) -> str | None:  # fmt: skip
    if any(one[side] != bundle for side, bundle in bundles.items()):
        return "other_bundles"
    if (one["set"], one["question"]) not in judged:
        return "unknown_question"
    return "repeated_rater" if repeated else None


def _parse(line: str, place: str) -> dict[str, str]:
    try:
        value = json.loads(line)
    except ValueError:
        raise JudgeError(f"{place}: not JSON: {line[:60]!r}; mend the line or take it out.") from None
    if not isinstance(value, dict) or any(not isinstance(value.get(name), str) for name in FIELDS):
        raise JudgeError(f"{place}: a verdict needs the texts {', '.join(FIELDS)}; it is {line[:80]!r}.")
    if value["winner"] not in POINTS:
        raise JudgeError(f"{place}: winner {value['winner']!r} is none of {', '.join(POINTS)}.")
    return {name: value[name] for name in FIELDS}
