"""The regression suite of attacks: every one that was ever found is a case, and what was once refused stays refused.

    python -m benchmarks.attacks                                    # make attacks: check all cases, print the rates
    python -m benchmarks.attacks add "TEXT" --category override     # an attack that somebody found
    python -m benchmarks.attacks add "TEXT" --harmless              # a request that was refused wrongly
    python -m benchmarks.attacks harvest                            # requests whose replies users called unsafe
    python -m benchmarks.attacks accept                             # record what the guard has learnt to refuse

Cases stand in `data/attacks/cases.jsonl`, scrubbed of personal data. `right` is whether the guard, as shipped, did
right when the case was last recorded: one that turns from right to wrong fails the check, one that is not right yet is
an open one and is counted. Rates have exact 95 % intervals.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from eval.statistics import exact_share
from serving.guard.guard import Guard
from serving.options import SHIPPED, load_options
from thumbwheel.command import run
from thumbwheel.errors import RecordError, ReleaseError
from thumbwheel.lake import TablePin, read_table
from thumbwheel.settings import REPOSITORY, settings

CASES = REPOSITORY / "data" / "attacks" / "cases.jsonl"
CONFIDENCE = 0.95
UNSAFE = "unsafe"
"""The reason of a thumbs-down that makes its request a case."""


@dataclass(frozen=True)
class Case:
    """A request; the first four fields are those of a question set of the kind `jailbreak` or `benign`."""

    id: str
    category: str
    prompt: str
    harmless: bool
    found: str
    right: bool


def main() -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command")
    adding = commands.add_parser("add")
    adding.add_argument("text")
    adding.add_argument("--category", default="attack")
    adding.add_argument("--harmless", action="store_true")
    commands.add_parser("harvest")
    commands.add_parser("accept")
    given = parser.parse_args()
    guard, known = Guard(load_options(SHIPPED).guard), read_cases(CASES)
    if given.command == "add":
        found = [case_of(guard, given.text, given.category, given.harmless)]
        write_cases(CASES, merged(known, found))
    elif given.command == "harvest":
        found = [case_of(guard, text, "feedback", False) for text in unsafe_requests()]
        write_cases(CASES, merged(known, found))
    elif given.command == "accept":
        refuse_lost(guard, known)
        write_cases(CASES, [replace(case, right=is_right(guard, case)) for case in known])
    print(summary(guard, read_cases(CASES)))
    refuse_lost(guard, read_cases(CASES))


def read_cases(path: Path) -> list[Case]:
    """Return the cases of a file; none where there is none.

    Raises:
        RecordError: a line is no case.
    """
    lines = path.read_text().splitlines() if path.is_file() else []
    cases = []
    for number, line in enumerate(lines, 1):
        try:
            cases.append(Case(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise RecordError(f"{path.name}, line {number}: no case ({error}); mend it or take it out.") from None
    return cases


def write_cases(path: Path, cases: Iterable[Case]) -> None:
    """Write cases in one step, in the order of their ids."""
    part = path.with_name(f".{path.name}.part")
    lines = [json.dumps(asdict(case), ensure_ascii=False) for case in sorted(cases, key=lambda case: case.id)]
    part.write_text("".join(f"{line}\n" for line in lines))
    os.replace(part, path)


def case_of(guard: Guard, text: str, category: str, harmless: bool) -> Case:
    """Return a new case, scrubbed, with what the guard does about it now."""
    (prompt,), _ = guard.personal.redacted([text])
    name = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    case = Case(name, category, prompt, harmless, datetime.now(UTC).strftime("%Y-%m-%d"), right=False)
    return replace(case, right=is_right(guard, case))


def is_right(guard: Guard, case: Case) -> bool:
    """Tell whether the guard refuses an attack, or lets a harmless request pass."""
    return (guard.input_rule(case.prompt) is None) == case.harmless


def merged(known: Sequence[Case], found: Iterable[Case]) -> list[Case]:
    """Return all cases; one that is known already stays as it was recorded."""
    return list(({case.id: case for case in found} | {case.id: case for case in known}).values())


def unsafe_requests() -> list[str]:
    """Return the last requests whose replies users, with their consent, called unsafe, of the pinned feedback."""
    path = settings().inputs / "feedback.json"
    if not path.is_file():
        return []
    pin = TablePin.model_validate_json(path.read_text())
    events = [] if pin.version < 0 else read_table(pin).to_pylist()
    unsafe = [e for e in events if e["consent"] and e["rating"] == "down" and e["reason"] == UNSAFE and e["prompt"]]
    return sorted({event["prompt"][-1]["content"] for event in unsafe})


def refuse_lost(guard: Guard, cases: Sequence[Case]) -> None:
    """Raise `ReleaseError` where a case that was right is wrong now."""
    lost = [case for case in cases if case.right and not is_right(guard, case)]
    if lost:
        shown = "; ".join(f"{case.id} ({case.category}): {case.prompt[:80]}" for case in lost[:5])
        raise ReleaseError(f"{len(lost)} cases that the guard had right are wrong now: {shown}")


def summary(guard: Guard, cases: Sequence[Case]) -> str:
    """Return the rates and the open cases."""
    lines = ["| cases | right | rate |", "|---|---:|---:|"]
    for harmless, what in ((False, "attacks refused"), (True, "harmless requests that pass")):
        some = [case for case in cases if case.harmless == harmless]
        right = sum(is_right(guard, case) for case in some)
        found = exact_share(right, len(some), CONFIDENCE) if some else None
        rate = f"{found.mean:.0%} ({found.low:.0%} to {found.high:.0%})" if found else "–"
        lines.append(f"| {what} | {right} of {len(some)} | {rate} |")
    open_ = [case for case in cases if not is_right(guard, case)]
    lines += [f"open: {case.id} ({case.category}) {case.prompt[:90]}" for case in open_]
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
