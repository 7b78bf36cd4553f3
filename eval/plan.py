"""Which verdicts are wanted of a judge, and the question that gets each: pairwise in both orders, grades, the trial.

Pure. After MT-Bench (Zheng et al., 2023, arXiv:2306.05685): both turns of a question are judged, the second with the
first before it, and math, coding and reasoning are judged by a reference answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from eval.judge import Ask, Prompt, load_prompt
from eval.ruling import Ruling, winner
from thumbwheel.records import SIDES

PROMPTS = ("pairwise", "pairwise_two_turns", "single", "single_two_turns")
Rubric = Literal["faithfulness", "relevance", "tone"]
"""What a reply may be graded for from 1 to 5, each by the prompt of that name."""
Row = Mapping[str, Any]
Key = tuple[str, str]


@dataclass(frozen=True)
class Item:
    """One verdict to get: its row so far, and the question to the judge, or None where the row is settled already."""

    row: dict[str, Any]
    ask: Ask | None


@dataclass(frozen=True)
class Planner:
    """Makes items; `guided` names the categories that are judged by their reference answers."""

    prompts: Mapping[str, Prompt]
    guided: Sequence[str]

    @classmethod
    def load(cls, guided: Sequence[str], rubrics: Sequence[str]) -> Planner:
        """Read the prompts that are needed."""
        return cls({name: load_prompt(name) for name in (*PROMPTS, *rubrics)}, guided)

    def pairwise(self, question: Row, sides: Mapping[str, Row]) -> list[Item]:
        """Return both orders (`ab`: the candidate stands first) of each turn; equal replies tie without a call."""
        return [
            self._pair(question, turn, order, sides)
            for turn in range(len(question["turns"]))
            for order in ("ab", "ba")
        ]  # fmt: skip

    def single(self, question: Row, sides: Mapping[str, Row]) -> list[Item]:
        """Return one grade a side and turn."""
        return [
            self._grade("single", "single_two_turns" if turn else "single", question, turn, side, sides)
            for turn in range(len(question["turns"]))
            for side in SIDES
        ]

    def rubric(self, name: str, question: Row, sides: Mapping[str, Row]) -> list[Item]:
        """Return one grade a side of the first reply; none where there is nothing that it could be faithful to."""
        if name == "faithfulness" and not _context(question):
            return []
        return [self._grade(f"rubric_{name}", name, question, 0, side, sides) for side in SIDES]

    def trial(self, question: Row) -> list[Item]:
        """Return both orders of a labelled pair (`ab`: answer a stands first)."""
        items, prompt = [], self.prompts["pairwise"]
        for order in ("ab", "ba"):
            first, second = (question["a"], question["b"]) if order == "ab" else (question["b"], question["a"])
            fields = {"question": question["turns"][0], "answer_a": first, "answer_b": second}
            items.append(Item(verdict("trial", question, 0, order=order), Ask(prompt, prompt.messages(fields))))
        return items

    def _pair(self, question: Row, turn: int, order: str, sides: Mapping[str, Row]) -> Item:
        first, second = (sides[side] for side in (SIDES if order == "ab" else reversed(SIDES)))
        row = verdict("pairwise", question, turn, order=order)
        if missing := [side for side in SIDES if len(sides[side]["replies"]) <= turn]:
            return Item(row | {"error": f"no answer: {', '.join(missing)}"}, None)
        if first["replies"][: turn + 1] == second["replies"][: turn + 1]:
            return Item(row | {"winner": "tie", "score": 0.5}, None)
        prompt = self.prompts["pairwise_two_turns" if turn else "pairwise"]
        return Item(row, self._ask(prompt, question, turn, (first, second)))

    def _grade(
        self, kind: str, prompt: str, question: Row, turn: int, side: str, sides: Mapping[str, Row]
    ) -> Item:  # fmt: skip
        row = verdict(kind, question, turn, side=side)
        if len(sides[side]["replies"]) <= turn:
            return Item(row | {"error": f"no answer: {side}"}, None)
        return Item(row, self._ask(self.prompts[prompt], question, turn, (sides[side],)))

    def _ask(self, prompt: Prompt, question: Row, turn: int, answers: Sequence[Row]) -> Ask:
        """Fill a prompt with one answer or two; references go in for the categories that are judged by them."""
        fields = {"question": question["turns"][turn], "context": _context(question)}
        for letter, answer in zip("ab", answers, strict=False):
            fields[f"answer_{letter}"] = answer["replies"][turn]
            fields |= {f"answer_{letter}_1": answer["replies"][0], "question_1": question["turns"][0]} if turn else {}
        references = (question["reference"] or [])[: turn + 1]
        known = question["category"] in self.guided and len(references) > turn and references[turn].strip()
        return Ask(prompt, prompt.messages(fields, references if known else ()))


def verdict(kind: str, question: Row, turn: int, side: str | None = None, order: str | None = None) -> dict[str, Any]:
    """Return the row of a verdict that is still to be given."""
    row = {"kind": kind, "set": question["set"], "question": question["id"], "turn": turn, "side": side}
    return row | {"order": order, "winner": None, "score": None, "error": None, "judge": None, "prompt": None}


def settle(item: Item, ruling: Ruling | None, identity: str, tie_margin: float) -> dict[str, Any]:
    """Return the finished row of an item, with its ruling where it took one."""
    row = item.row | {"judge": identity}
    if item.ask is None or ruling is None:
        return row
    row["prompt"] = item.ask.prompt.label
    if ruling.error:
        return row | {"error": ruling.error}
    if item.ask.prompt.verdicts != "letter":
        return row | {"score": ruling.expected_score}
    names = ("a", "b") if row["kind"] == "trial" else SIDES
    first, second = names if row["order"] == "ab" else tuple(reversed(names))
    said = {"first": first, "second": second, "tie": "tie"}[winner(ruling, tie_margin)]
    return row | {
        "winner": said,
        "score": ruling.first_is_better if row["order"] == "ab" else 1 - ruling.first_is_better,
    }


def by_question(answers: Sequence[Row]) -> dict[Key, dict[str, Row]]:
    """Return the answers of both sides to each question, in the order of set and question."""
    found: dict[Key, dict[str, Row]] = {}
    for answer in sorted(answers, key=lambda row: (row["set"], row["question"])):
        found.setdefault((answer["set"], answer["question"]), {})[answer["side"]] = answer
    return found


def _context(question: Row) -> str:
    """Return what a reply must be faithful to: the question's documents, else its reference answer, else nothing."""
    return "\n\n".join(question.get("context") or [(question["reference"] or [""])[0]])
