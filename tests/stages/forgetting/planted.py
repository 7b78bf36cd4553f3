"""A small world in which one user stands everywhere, beside another who is to stay."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from serving.history import SqliteHistory
from serving.memory.profile import SqliteProfiles
from serving.memory.recall import SqliteRecall
from serving.memory.statements import Statement
from stages import census, collect, ingest, pairs
from stages.observe import observed_feedback, observed_forgotten, write_changed
from stages.reading.sources import list_files
from stages.register import pin_mark
from tests.events import feedback_event
from tests.serving.test_history import reply
from tests.stages.opinions import BEST_OF_N, WEIGHTS
from tests.stages.test_ingest import LANGUAGE, SOURCE
from thumbwheel import tracking
from thumbwheel.embedding import Store, keys_of
from thumbwheel.lake import Pin, read_pin, read_pinned, write_json, write_pin, write_table
from thumbwheel.outbox import Outbox
from thumbwheel.records import CONVERSATION, PREFERENCE, QUARANTINE, THUMB, to_table, user_hash
from thumbwheel.secret import secret_key
from thumbwheel.settings import settings

NAME, OTHER = "zoltan.quirke@mail.example", "bea.holm@mail.example"
SAID = "My marmalade boiler <42> sings at midnight, why?"
REPLY = "A singing marmalade boiler is short of water."
EDIT = "Bleed the marmalade boiler's lowest valve."
SECRETS = ("zoltan", "marmalade")
"""What is to be found nowhere afterwards, whatever its case."""
KEPT = "The heron lamp blinks twice at noon."


def chat_user(name: str) -> str:
    """Return the hash by which the chat knows the user whom an application names so."""
    return user_hash(f"user:{name}", secret_key(settings().state_dir / "user.key"))


def source_user(name: str) -> str:
    return user_hash(name, b"salt")


def plant(root: Path) -> None:
    """Put the user into sources, lake, outbox, stores of the chat, caches, logs, reports, artifacts and models."""
    _sources(root)
    look(root)
    ingest.main()
    _feedback()
    pairs.main()
    _later_stages()
    _chat()
    _copies(root)
    _registry()


def look(root: Path) -> None:
    """Write what `stages.observe` finds; of it, what these stages read."""
    params = ingest.IngestParams.model_validate(yaml.safe_load((root / "params.yaml").read_text())["ingest"])
    listed = [{"name": s.name, "uri": s.uri, "files": list_files(s)} for s in params.sources]
    write_json(settings().inputs / "sources.json", {"sources": listed})
    write_changed(settings().inputs / "forgotten.json", observed_forgotten())
    write_json(settings().inputs / "feedback.json", observed_feedback())


def _sources(root: Path) -> None:
    rows_of_sources(root)
    section = {"max_characters": 1000, "user_salt": "salt", "language": LANGUAGE}
    section["sources"] = [SOURCE, {**SOURCE, "name": "more", "uri": "more.parquet"}]
    of_pairs = {"minimum_age_hours": 0, "cap_per_user": 9, "weights": WEIGHTS, "best_of_n": {**BEST_OF_N, "samples": 0}}
    of_pairs["alike"] = {"jaccard": 0.6, "most": 9}
    params = {"ingest": section, "collect": {"files": ["events.jsonl"]}, "pairs": of_pairs}
    (root / "params.yaml").write_text(yaml.safe_dump(params))


def rows_of_sources(root: Path) -> None:
    """Write the sources, as whoever has them may do again."""
    mine, other = ({"messages": _chat_of(said), "user": name} for said, name in ((SAID, NAME), (KEPT, OTHER)))
    broken = {"messages": [{"role": "user", "content": SAID}], "user_id": NAME, "lang": "en"}
    pair = {"prompt": SAID, "chosen": EDIT, "rejected": REPLY, "user": NAME}
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (mine, other, broken, pair)))
    pq.write_table(pa.Table.from_pylist([mine, other]), root / "more.parquet")
    (root / "data" / "mended").mkdir(parents=True, exist_ok=True)
    (root / "data" / "mended" / "s.jsonl").write_text(json.dumps({"mends": "rows.jsonl:2", **mine}) + "\n")
    (root / "events.jsonl").write_text(json.dumps(event_of("e-file", NAME, SAID)) + "\n")


def _chat_of(said: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": said}, {"role": "assistant", "content": f"{said} I do not know."}]


def event_of(event_id: str, name: str, said: str, **more: Any) -> dict[str, Any]:
    ids = {"event_id": event_id, "conversation_id": f"c-{name[:6]}", "message_id": f"m-{name[:6]}"}
    told = {"user": chat_user(name), "prompt": [{"role": "user", "content": said}], "reply": f"{said} Who knows."}
    return feedback_event(**{**ids, **told, **more})


def _feedback() -> None:
    outbox = Outbox(settings().outbox_path)
    for event in (
        event_of("e-mine", NAME, SAID, kind="edit", correction=EDIT, rating="down"),
        event_of("e-reviewer", NAME, SAID, kind="review", user="u-reviewer", correction=EDIT, rating=None),
        event_of("e-other", OTHER, KEPT, kind="edit", correction="It greets you.", rating="down"),
    ):
        outbox.append(event)
    outbox.close()
    collect.collect()
    write_json(settings().inputs / "feedback.json", observed_feedback())


def _later_stages() -> None:
    """Make tables as later stages would, in two versions, with the pins that name them."""
    chats, made = read_pinned("ingest", "conversations"), read_pinned("pairs", "preferences")
    ids = chats["id"].to_pylist()
    dropped = pa.table({"id": ids, "kept": ids, "reason": ["exact"] * len(ids)})
    write_table("split_conversations", chats.slice(0, 1))
    train = pa.array(["train"] * chats.num_rows)
    split = {
        "conversations": write_table("split_conversations", chats.append_column("split", train)),
        "preferences": write_table("split_preferences", made.select(PREFERENCE.names)),
        "unpaired": write_table("split_unpaired", to_table([], THUMB)),
    }
    write_pin(Pin(stage="split", tables=split))
    write_pin(Pin(stage="dedup", tables={"dropped": write_table("dedup_dropped", dropped)}))
    write_table("pose_questions", pa.table({"id": ["q"], "turns": pa.array([["How are you?"]])}))
    torn = {"source": "s:torn.jsonl", "line": 3, "reason": "json", "detail": "", "row": f'{{"user": "{NAME}", "x'}
    write_table("quarantine", to_table([torn], QUARANTINE))
    assert chats.schema.names == CONVERSATION.names


def _chat() -> None:
    state = settings().state_dir
    history, profiles = SqliteHistory(state / "history.db"), SqliteProfiles(state / "memory.db", 8)
    recall = SqliteRecall(state / "memory.db", 10)
    for number, (name, said) in enumerate(((NAME, SAID), (OTHER, KEPT))):
        asked = [{"role": "user", "content": said}]
        given = reply(number, f"c-{number}-history", f"{said} So it is.")
        said_back = replace(given, prompt=asked, user=chat_user(name))
        history.save(said_back)
        profiles.add(chat_user(name), [Statement("name", name.split(".")[0].capitalize())])
        recall.add(said_back, said, np.ones(4, np.float32))
    for store in (history, profiles, recall):
        store.close()
    vectors = Store()
    vectors.add({key: b"v" * 8 for said in (SAID, KEPT) for key in keys_of([said], ["float32"])})
    vectors.close()


def _copies(root: Path) -> None:
    state, cache = settings().state_dir, root / ".dvc" / "cache" / "files" / "md5" / "ab"
    lines = f"GET / 200\nconversation c-0-history answered\nasked by {NAME}\nsaid {KEPT}\nprompt: {SAID}\n"
    for path, text in (
        (state / "logs" / "chat.log", lines),
        (state / "airflow" / "logs" / "dag" / "task.log", lines),
        (settings().reports / "grade.html", "<p>My marmalade boiler &lt;42&gt; sings\n at midnight, why?</p>"),
        (settings().reports / "sft.json", "{}"),
        (cache / "cdef", f"<td>{EDIT.replace(chr(39), '&#39;')}</td>"),
        (state / "ingest" / "left" / "rows.arrow", SAID),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _registry() -> None:
    """Register a version that learnt from the user by its census, one of which nothing is known, one by its pin."""
    with tracking.stage_run("describe") as run:
        run.artifact(settings().reports / "grade.html", "cards")
        census.keep("bundle-of-both")
        api = run.client
        api.create_registered_model(tracking.MODEL)
        pinned = {"bundle": "uncounted", "pin.split": pin_mark("split")}
        for tags in ({"bundle": "bundle-of-both"}, {"bundle": "older"}, pinned):
            source = f"runs:/{run.run_id}/cards"
            api.create_model_version(tracking.MODEL, source=source, run_id=run.run_id, tags=tags)
    assert "ingest" in read_pin("ingest").stage
