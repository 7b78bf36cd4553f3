"""A user in the stores beside the lake: outbox, broker, chat service, sentence vectors and the tracker's artifacts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import httpx

from stages.arms.service import base_url, operator_proof
from stages.erase import shared_text
from stages.evidence import Event
from stages.forgetting.files import Search
from stages.forgetting.found import Found
from stages.forgetting.traces import LEAST, Traces
from thumbwheel import tracking
from thumbwheel.errors import SourceError, StoreError
from thumbwheel.outbox import Outbox
from thumbwheel.relay import DELIVERY_SECONDS, new_producer
from thumbwheel.settings import REPOSITORY, settings

if TYPE_CHECKING:
    from confluent_kafka import Producer

ARTIFACTS = 10_000
SECONDS = 30


def waiting_events() -> list[Event]:
    """Return all events of the outbox."""
    if not settings().outbox_path.exists():
        return []
    with closing(Outbox(settings().outbox_path)) as outbox:
        return [event for _, event in outbox.read(0, -1)]


def theirs_waiting(traces: Traces) -> list[Event]:
    """Return the user's events of the outbox, and those on conversations of theirs."""
    return [
        event
        for event in waiting_events()
        if event["user"] in traces.users or event["conversation_id"] in traces.conversations
    ]


def empty_outbox(traces: Traces, erase: bool) -> Iterator[Found]:
    """Delete the user's events from the outbox."""
    if mine := theirs_waiting(traces):
        if erase:
            with closing(Outbox(settings().outbox_path)) as outbox:
                outbox.erase([event["event_id"] for event in mine])
        yield Found("outbox", settings().outbox_path.name, len(mine))


def bury(traces: Traces, erase: bool) -> Iterator[Found]:
    """Send a tombstone for each of the user's events: a compacted topic drops them, any other keeps its retention.

    Raises:
        SourceError: the broker did not take them.
    """
    servers, topic = settings().kafka_servers, settings().kafka_topic
    events = sorted(traces.events)
    if not servers or not events:
        return
    if erase and (lost := len(events) - confirmed(new_producer(servers), topic, events)):
        raise SourceError(f"the broker {servers} took no tombstones for {lost} events; start it and forget again.")
    yield Found("kafka tombstones", topic, len(events))


def confirmed(producer: Producer, topic: str, events: Sequence[str]) -> int:
    """Send tombstones and return how many the broker confirmed: one that it refused is neither sent nor queued."""
    taken: list[bytes] = []
    for event in events:
        producer.produce(topic, value=None, key=event.encode(), on_delivery=partial(_taken, taken))
    producer.flush(DELIVERY_SECONDS + SECONDS)
    return len(taken)


def _taken(taken: list[bytes], error: Any, message: Any) -> None:
    if error is None:
        taken.append(message.key())


def service(traces: Traces, erase: bool) -> Iterator[Found]:
    """Empty what the chat service keeps: history, profile, recall, sessions and cached answers."""
    counts = ask_service(traces.users, traces.ids, True)["counts"] if erase else traces.chat
    yield from (Found("chat service", store, count) for store, count in sorted(counts.items()) if count)
    if erase:
        yield from _running_service(traces.users)


def ask_service(users: frozenset[str], items: Collection[str], erase: bool) -> dict[str, Any]:
    """Return what `serving.erasure` says of these users; a process of its own, for stages import nothing of serving.

    Raises:
        StoreError: a store is away.
    """
    asked = json.dumps({"users": sorted(users), "items": sorted(items), "erase": erase})
    command = [sys.executable, "-m", "serving.erasure"]
    done = subprocess.run(command, cwd=REPOSITORY, input=asked, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StoreError(f"the chat service's stores cannot be erased: {done.stderr.strip()[-300:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _running_service(users: frozenset[str]) -> Iterator[Found]:
    """Have the service that runs here forget what it holds in its own memory; none runs, and there is nothing."""
    body = json.dumps({"users": sorted(users)}).encode()
    if (proof := operator_proof(body)) is None:
        return
    try:
        answer = httpx.post(f"{base_url()}/v1/erasures", content=body, headers=proof, timeout=SECONDS)
    except httpx.HTTPError:
        return
    if answer.status_code == 200:
        yield Found("chat service", "running", sum(answer.json()["erased"].values()))


def vectors(traces: Traces, erase: bool) -> Iterator[Found]:
    """Delete the sentence vectors of what the user said; those of `dedup` go with its caches."""
    from thumbwheel.embedding import Store, keys_of

    if not (settings().state_dir / "vectors.db").exists() or not traces.texts:
        return
    with closing(Store()) as store:
        if keys := list(store.known(keys_of(traces.texts))):
            if erase:
                store.remove(keys)
            yield Found("vectors", "vectors.db", len(keys))


def shared_index(traces: Traces, erase: bool) -> Iterator[Found]:
    """Empty the index that `dedup` shares on a Redis: it holds folded text of rows, and is a cache.

    Raises:
        StoreError: the Redis does not answer.
    """
    if traces.size and (count := shared_text(erase)):
        yield Found("caches", "dedup's index on Redis", count)


def artifacts(traces: Traces, erase: bool) -> Iterator[Found]:
    """Remove the tracker's artifacts that show the user; of a tracker elsewhere, those that can be read as files."""
    search = Search(traces)
    for folder in artifact_folders():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and search.finds(path.read_bytes()):
                if erase:
                    path.unlink()
                yield Found("tracker artifacts", str(path.relative_to(folder)), 1)


def artifact_folders() -> list[Path]:
    """Return where the tracker keeps artifacts, as far as that is a folder here."""
    experiment = tracking.client().get_experiment_by_name(tracking.EXPERIMENT)
    place = urlsplit(experiment.artifact_location) if experiment else None
    folder = Path(unquote(place.path)) if place and place.scheme in ("", "file") else None
    return [folder] if folder and folder.is_dir() else []


def note_waiting(traces: Traces) -> None:
    """Take in what the outbox tells of the user."""
    for event in theirs_waiting(traces):
        traces.note(event)


def note_chat(traces: Traces) -> None:
    """Take in what the chat's history tells of the user."""
    said = ask_service(traces.users, (), False)
    traces.chat = said["counts"]
    traces.conversations |= set(said["conversations"])
    traces.ids |= set(said["messages"])
    traces.texts |= {text for text in said["texts"] if len(text.strip()) >= LEAST}
