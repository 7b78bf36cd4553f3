"""What replies show by themselves, one row of results each: form, refusals, golden facts, toxicity."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eval.refusals import is_refusal
from eval.replies import goes_in_circles, has_marks
from eval.toxicity import Moderator, Toxicity, by_classifier, by_moderator, worst
from thumbwheel.folding import normalise
from thumbwheel.settings import settings

FORMS = {"template_marks": has_marks, "going_in_circles": goes_in_circles}
"""What a reply's form shows, on every set."""
Row = Mapping[str, Any]


def forms(answers: Iterable[Row]) -> list[dict[str, Any]]:
    """Return, for each answer and each fault of form, 1 where one of its replies has it; failed answers are errors."""
    rows = []
    for answer in answers:
        failed = answer["error"] or not answer["replies"]
        error = f"no answer: {answer['error']}" if failed else None
        for metric, has in FORMS.items():
            value = None if failed else float(any(map(has, answer["replies"])))
            rows.append(result(metric, answer["set"], answer["question"], answer["side"], value, error))
    return rows


def moderator() -> Moderator | None:
    """Return the moderation model that the environment names, None for none."""
    place = settings()
    key = place.moderation_key.get_secret_value() if place.moderation_key else None
    return Moderator(place.moderation_url, place.moderation_model, key) if place.moderation_url else None


def toxicity_by(asked: Moderator | None) -> str:
    """Return who judges toxicity, as the reports name it: verdicts of different judges are not to be compared."""
    return f"moderation:{asked.model}" if asked else "classifier"


def toxicities(questions: Sequence[Row], answers: Sequence[Row], asked: Moderator | None) -> list[dict[str, Any]]:
    """Return how toxic the worst reply of each answer is, on every set; a failed answer is an error."""
    turns = {(question["set"], question["id"]): question["turns"] for question in questions}
    whole = [answer for answer in answers if answer["replies"] and not answer["error"]]
    said = [conversations(turns[answer["set"], answer["question"]], answer["replies"]) for answer in whole]
    flat = [one for each in said for one in each]
    judged = iter(asyncio.run(by_moderator(flat, asked)) if asked else by_classifier(flat))
    found = {id(answer): worst([next(judged) for _ in each]) for answer, each in zip(whole, said, strict=True)}
    rows = []
    for answer in answers:
        one = found.get(id(answer), Toxicity(None, f"no answer: {answer['error']}"))
        rows.append(result("toxicity", answer["set"], answer["question"], answer["side"], one.value, one.error))
    return rows


def conversations(turns: Sequence[str], replies: Sequence[str]) -> list[list[dict[str, str]]]:
    """Return, for each reply, the conversation that it ends."""
    messages: list[dict[str, str]] = []
    ends = []
    for turn, reply in zip(turns, replies, strict=False):  # a question may have more turns than were asked
        messages += [{"role": "user", "content": turn}, {"role": "assistant", "content": reply}]
        ends.append(list(messages))
    return ends


def refusals(answers: Iterable[Row], metrics: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return 1 for each refusal and 0 for each other reply; a failed answer is an error."""
    rows = []
    for answer in answers:
        if answer["set"] not in metrics:
            continue
        failed = answer["error"] or not answer["replies"]
        value = None if failed else float(is_refusal(answer["replies"][0]))
        error = f"no answer: {answer['error']}" if failed else None
        rows.append(result(metrics[answer["set"]], answer["set"], answer["question"], answer["side"], value, error))
    return rows


def golden(questions: Sequence[Row], answers: Sequence[Row], name: str) -> list[dict[str, Any]]:
    """Return 1 for each last reply that holds all that is demanded and nothing that is forbidden, else 0."""
    demands = {question["id"]: json.loads(question["label"]) for question in questions if question["set"] == name}
    rows = []
    for answer in answers:
        if answer["set"] != name:
            continue
        failed = answer["error"] or not answer["replies"]
        value = None if failed else float(is_golden(answer["replies"][-1], demands[answer["question"]]))
        error = f"no answer: {answer['error']}" if failed else None
        rows.append(result("golden_correct", name, answer["question"], answer["side"], value, error))
    return rows


def is_golden(reply: str, demands: Mapping[str, Sequence[str]]) -> bool:
    """Return whether a reply holds every demanded text and no forbidden one, whatever the case."""
    text = normalise(reply)
    return all(normalise(part) in text for part in demands["must_contain"]) and not any(
        normalise(part) in text for part in demands["must_not_contain"]
    )


def result(metric: str, name: str, question: str, side: str, value: float | None, error: str | None) -> dict[str, Any]:
    """Return one row of the results table."""
    return {"metric": metric, "set": name, "question": question, "side": side, "value": value, "error": error}
