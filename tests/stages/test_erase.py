"""What was erased is in no file of the lake any more, and what is pinned can still be read."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from redis import Redis

from stages import dedup, erase, ingest
from stages.duplicates.dedup_redis import SharedIndex
from tests.real_redis import running_redis
from tests.stages.duplicates.test_minhash import folded
from tests.stages.test_dedup import PARAMS as DEDUP
from tests.stages.test_ingest import CHAT, SOURCE, observe, write_rows
from tests.stages.test_scrub import KINDS_KEPT, chat, pair, scrub
from thumbwheel.embedding import Store
from thumbwheel.errors import PinError, StoreError
from thumbwheel.lake import read_pin, read_pinned, write_table
from thumbwheel.records import QUARANTINE, to_table
from thumbwheel.settings import REPOSITORY, settings

VALUES = (
    "tilda.varn@mail.example",
    "078-05-1120",
    "4111 1111 1111 1111",
    "quarantined@mail.example",
    "topic@mail.example",
)


@pytest.fixture
def erase_now(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    monkeypatch.setattr(sys, "argv", ["erase", "--yes"])
    return erase.main


def fill(root: Path) -> None:
    """Make the lake of a run that first scrubbed too little."""
    rejected = {"source": "s", "line": 1, "reason": "role", "detail": "", "row": VALUES[3]}
    write_table("quarantine", to_table([rejected], QUARANTINE))
    chats = [{**chat("a", f"I am {VALUES[0]}", "ok"), "topic": f"of {VALUES[4]}"}, chat("b", VALUES[1], "ok")]
    pairs = [pair("c", "hi", VALUES[2], VALUES[0])]
    names = {"c": "dedup_conversations", "p": "dedup_preferences", "q": "pairs_preferences", "u": "pairs_unpaired"}
    scrub(root, chats, pairs, kinds={"ipv4": "placeholder"}, names=names)
    scrub(root, chats, pairs, kinds=KINDS_KEPT, names=names)


def held(root: Path) -> set[str]:
    """Return the values that stand in any file of the lake, in the bytes or in the rows that they hold."""
    found = set()
    for path in (root / "data" / "lake").rglob("*"):
        if path.is_file():
            rows = str(pq.read_table(path).to_pylist()) if path.suffix == ".parquet" else ""
            found |= {value for value in VALUES if value.encode() in path.read_bytes() or value in rows}
    return found


def test_before_erasing_the_lake_holds_every_value(workspace: Path) -> None:
    fill(workspace)
    assert held(workspace) == set(VALUES)


def test_erasing_leaves_no_value_in_any_file(workspace: Path, erase_now: Callable[[], None]) -> None:
    fill(workspace)
    erase_now()
    assert held(workspace) == set()


def test_what_is_pinned_behind_scrub_is_read_as_before(workspace: Path, erase_now: Callable[[], None]) -> None:
    fill(workspace)
    before = {name: read_pinned("scrub", name) for name in read_pin("scrub").tables}
    erase_now()
    assert all(read_pinned("scrub", name).equals(table) for name, table in before.items())


def test_the_raw_pins_say_how_to_make_their_tables_again(workspace: Path, erase_now: Callable[[], None]) -> None:
    fill(workspace)
    erase_now()
    with pytest.raises(PinError, match="dvc repro --force"):
        read_pinned("dedup", "conversations")


def test_scrubbing_again_after_the_tables_were_made_again_yields_the_same_content(
    workspace: Path, erase_now: Callable[[], None]
) -> None:
    fill(workspace)
    before = read_pin("scrub")
    erase_now()
    fill(workspace)
    assert [t.fingerprint for t in read_pin("scrub").tables.values()] == [t.fingerprint for t in before.tables.values()]


def test_erasing_twice_finds_nothing_to_do(
    workspace: Path, erase_now: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    fill(workspace)
    erase_now()
    versions = {path: path.stat().st_mtime_ns for path in (workspace / "data/lake").rglob("*.json")}
    capsys.readouterr()
    erase_now()
    assert "raw tables: none" in capsys.readouterr().out
    assert versions == {path: path.stat().st_mtime_ns for path in (workspace / "data/lake").rglob("*.json")}


def test_without_yes_nothing_goes(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(workspace)
    monkeypatch.setattr(sys, "argv", ["erase"])
    erase.main()
    assert held(workspace) == set(VALUES)
    assert "dedup_conversations" in capsys.readouterr().out
    assert not any(value in capsys.readouterr().out for value in VALUES)


def test_nothing_is_erased_before_scrub_has_run(workspace: Path, erase_now: Callable[[], None]) -> None:
    write_table("ingest_quarantine", to_table([], QUARANTINE))
    with pytest.raises(PinError, match="dvc repro scrub"):
        erase_now()
    assert (workspace / "data/lake/ingest_quarantine").is_dir()


def test_a_table_pinned_behind_its_newest_version_is_left_and_named(
    workspace: Path, erase_now: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    fill(workspace)
    scrub(workspace, [chat("z", "other", "ok")])
    fill(workspace)
    erase_now()
    assert "scrub_conversations is pinned behind" in caplog.text
    assert read_pinned("scrub", "conversations").num_rows == 2


def test_erasing_reaches_the_raw_text_that_stages_keep_for_speed(
    workspace: Path, erase_now: Callable[[], None]
) -> None:
    write_rows(workspace, CHAT)
    observe(workspace, SOURCE)
    params = yaml.safe_load((workspace / "params.yaml").read_text())
    params["dedup"] = yaml.safe_load((REPOSITORY / "params.yaml").read_text())["dedup"]
    (workspace / "params.yaml").write_text(yaml.safe_dump(params))
    ingest.main()
    dedup.main()
    fill(workspace)
    with closing(Store()) as vectors:
        vectors.add({b"key": b"vector"})
    before = [path.name for path in erase.raw_caches()]

    erase_now()

    assert before == ["ingest", "dedup", "vectors.db"]
    assert erase.raw_caches() == []


def test_erasing_reaches_the_text_that_writers_share_on_a_redis(
    workspace: Path, erase_now: Callable[[], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill(workspace)
    with running_redis(tmp_path) as port:
        url = f"redis://127.0.0.1:{port}/0"
        monkeypatch.setenv("THUMBWHEEL_REDIS_URL", url)
        settings.cache_clear()
        SharedIndex(url, DEDUP.sketch, DEDUP.threshold).add(folded([[("", f"I am {VALUES[0]}")]]))
        redis = Redis.from_url(url)
        redis.set("another", "stays")
        assert erase.shared_text() > 2

        erase_now()

        assert redis.keys() == [b"another"]


@pytest.mark.parametrize("url", ["redis://:secret@127.0.0.1:1/0", "127.0.0.1:1/secret", "redis://:secret@[::1/0"])
def test_a_shared_redis_that_is_away_is_named_without_its_password(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("THUMBWHEEL_REDIS_URL", url)
    settings.cache_clear()
    with pytest.raises(StoreError, match="the index of dedup cannot be reached") as raised:
        erase.shared_text()
    assert "secret" not in str(raised.value)


def test_a_log_that_goes_as_its_last_reader_leaves_stops_no_erasure(
    workspace: Path, erase_now: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(workspace)
    gone = settings().state_dir / "vectors.db-wal"
    raw = erase.raw_caches
    monkeypatch.setattr(erase, "raw_caches", lambda: [*raw(), gone])

    erase_now()

    assert raw() == []
