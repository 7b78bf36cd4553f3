"""Forget a user: erase them from every place that keeps something of them, and never take them in again.

    python -m stages.forget USER            # says what would go
    python -m stages.forget USER --yes      # lets it go: make forget USER=…
    python -m stages.forget --verify FILE   # checks the signature of a receipt

USER is the name that sources or applications give them, `key:ID`, `jwt:SUBJECT`, `session:COOKIE`, or a hash `u-…`.
The user is listed as forgotten first, so that nothing new comes in; then models that learnt from them are marked; then
they are erased, copies first, and last that by which copies are found. Killed at any point, the same command goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stages.forgetting import files, receipt, stores, tables
from stages.forgetting.found import Found
from stages.forgetting.identity import hashes_of, source_salt
from stages.forgetting.models import Model, mark, models
from stages.forgetting.pins import drop_stale
from stages.forgetting.traces import Traces
from stages.observe import observed_forgotten, write_changed
from thumbwheel import forgotten, processes, scheduler, stack
from thumbwheel.command import run
from thumbwheel.errors import SourceError, TurnError
from thumbwheel.forgotten import forget_key, key_name, mark_of
from thumbwheel.lake import newest, write_table
from thumbwheel.records import to_table
from thumbwheel.settings import settings

Step = Callable[[Traces, bool], Iterator[Found]]

STEPS: tuple[Step, ...] = (
    files.remove_copies,
    stores.artifacts,
    files.strike,
    files.remove_caches,
    stores.shared_index,
    stores.vectors,
    files.cut_sources,
    stores.bury,
    tables.clear,
    stores.service,
    stores.empty_outbox,
)
"""Copies first; last what tells which copies there are."""
LEARNT = "learnt"
"""In the journal, the place of a model that learnt from the user."""
BEYOND = (
    "backups, and copies that people made",
    "commits of git that hold a source, a mended row or a file of events",
    "sources that are not files of one row a line under this root: they are refused, and stay where they are",
    "documents of the knowledge that name the user: take them out at their source, and run the index",
    "the memory of other processes that serve the chat, until they are started again",
    "a Kafka topic that is not compacted, until its retention has passed",
    "weights of the models that are marked: train them again without the user",
)
"""What this command does not reach; every receipt says so."""


def trace(user: str) -> Traces:
    """Return what is known of a user, gathered from the stores that name them."""
    traces = Traces(user, hashes_of(user), source_salt(), files.user_columns())
    files.note_sources(traces)
    stores.note_chat(traces)
    stores.note_waiting(traces)
    tables.gather(traces)
    stores.note_waiting(traces)  # for events of others on what the tables told to be theirs
    return traces


def enlist(users: frozenset[str], at: str) -> list[str]:
    """Put a user's hashes on the list of the forgotten, and return their marks."""
    key = forget_key()
    marks = sorted(mark_of(user, key) for user in users)
    known = newest(forgotten.TABLE)
    rows = [] if known is None else known.to_pylist()
    new = set(marks) - {row["mark"] for row in rows}
    rows += [{"mark": one, "key": key_name(key), "created_at": at} for one in sorted(new)]
    if new:
        write_table(forgotten.TABLE, to_table(rows, forgotten.FORGOTTEN))
    write_changed(settings().inputs / "forgotten.json", observed_forgotten())
    return marks


def forget(user: str) -> dict[str, Any]:
    """Erase a user and return the receipt.

    Raises:
        StoreError, SourceError: a store is away; what was erased stays erased, and the command is to be given again.
    """
    began = datetime.now(UTC).isoformat(timespec="seconds")
    marks = enlist(hashes_of(user), began)
    journal = receipt.Journal(marks[0])
    traces = trace(user)
    learnt = remembered(journal, models(traces, marks))
    mark(learnt, began)
    for step in STEPS:
        journal.add(list(step(traces, True)))
    journal.add([Found("pins", stage, 1) for stage in drop_stale()])
    told = _receipt(journal.read(), marks, learnt, files.left(traces), began)
    path = receipt.write(told, f"forgot-{marks[0]}-{began.replace(':', '')}")
    journal.close()
    return {**told, "path": str(path)}


def remembered(journal: receipt.Journal, found: Sequence[Model]) -> list[Model]:
    """Return the models with what a run that was cut short knew of them, by rows that it may have erased."""
    journal.add([Found(LEARNT, str(model.version), 1) for model in found if model.learnt == "yes"])
    known = {int(one.what) for one in journal.read() if one.place == LEARNT}
    now = {model.version: model for model in found} | {n: Model(n, (), "yes") for n in known}
    aliases = {model.version: model.aliases for model in found}
    return [now[n]._replace(aliases=aliases.get(n, ())) for n in sorted(now)]


def _receipt(
    erased: Sequence[Found], marks: Sequence[str], learnt: Sequence[Model], left: Sequence[str], at: str
) -> dict[str, Any]:
    return {
        "what": "erasure of a user",
        "user": list(marks),
        "begun": at,
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "erased": [one._asdict() for one in erased if one.place != LEARNT],
        "models": [{**model._asdict(), "aliases": list(model.aliases)} for model in learnt],
        "left": list(left),
        "beyond": list(BEYOND),
    }


def look(user: str) -> None:
    """Print what would go."""
    traces = trace(user)
    found = [one for step in STEPS for one in step(traces, False)]
    _show(found)
    _show_models(models(traces, [mark_of(one, forget_key()) for one in traces.users]))
    print("nothing was erased; do it with: python -m stages.forget USER --yes, or make forget USER=…")


def _show(found: Sequence[Found]) -> None:
    for one in found:
        print(f"{one.place:<18} {one.number:>6}  {one.what}")
    if not found:
        print("nothing of this user was found")


def _show_models(learnt: Sequence[Model]) -> None:
    for model in learnt:
        served = f", served as {' and '.join(model.aliases)}" if model.aliases else ""
        told = "learnt from the user" if model.learnt == "yes" else "may have learnt from the user; nobody can tell now"
        print(f"{'models':<18} {'':>6}  version {model.version}{served}: {told}")


def _say(told: dict[str, Any]) -> None:
    _show([Found(**one) for one in told["erased"]])
    _show_models([Model(one["version"], tuple(one["aliases"]), one["learnt"]) for one in told["models"]])
    for path in told["left"]:
        print(f"{'still there':<18} {'':>6}  {path}: see to it yourself, then give the command again")
    print(f"receipt: {told['path']}; verify it by the public key {receipt.public_hex()}")
    if pins := [one["what"] for one in told["erased"] if one["place"] == "pins"]:
        print(f"the next turn makes these stages again: {', '.join(pins)}")


def main() -> None:
    """Say what would go; with `--yes`, let it go."""
    wish = _arguments()
    if wish.verify:
        is_good = receipt.verify(wish.verify, wish.public_key)
        if not is_good:
            raise SourceError(f"{wish.verify} is not what was signed, or was signed by another key.")
        print(f"{wish.verify} is as it was signed")
        return
    _refuse_during_a_turn()
    with processes.only_one(settings().state_dir / "turn.lock", "a turn of the wheel, or a forgetting,"):
        if wish.yes:
            _say(forget(wish.user))
        else:
            look(wish.user)


def _refuse_during_a_turn() -> None:
    """Raise where the local stack runs a turn, which the lock of turns knows nothing of.

    Raises:
        TurnError: it does.
    """
    latest = scheduler.latest_run() if stack.is_up() else None
    if latest and latest[2] in ("running", "queued"):
        raise TurnError(f"a turn of the wheel is running (run {latest[1]}); wait for its end.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="stages.forget", description="Forget a user.")
    parser.add_argument("user", nargs="?", help="a name, key:ID, jwt:SUBJECT, session:COOKIE, or a hash u-…")
    parser.add_argument("--yes", action="store_true", help="let it go; without it, only look")
    parser.add_argument("--verify", type=Path, metavar="FILE", help="check a receipt")
    parser.add_argument("--public-key", help="of who signed, in hex; that of this installation unless given")
    wish = parser.parse_args()
    if not wish.verify and not (wish.user or "").strip():
        parser.error("name the user")
    return wish


if __name__ == "__main__":
    run(main)
