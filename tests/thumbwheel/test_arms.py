"""The routing on disk, and the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from thumbwheel.arms import Arm, Routing, read_routing
from thumbwheel.errors import ReleaseError
from thumbwheel.ledger import Entry, Ledger

ONE, TWO = (Arm(version=n, bundle=str(n) * 64, bento=f"b:{n}") for n in (1, 2))


def entry(canary: str = "c", **changed: object) -> Entry:
    facts = {"phase": "live", "unit": "u", "arm": "canary", "message_id": "m", "failed": False, "guarded": True}
    return Entry(canary=canary, **{**facts, "first_seconds": 0.5, "at": 3.0, **changed})  # type: ignore[arg-type]


def test_a_routing_is_read_as_it_was_written(tmp_path: Path) -> None:
    routing = Routing(champion=ONE, canary=TWO, share=0.25, salt="s", began="2026-01-01T00:00:00Z")
    (tmp_path / "arms.json").write_text(routing.model_dump_json())
    assert read_routing(tmp_path / "arms.json") == routing
    assert read_routing(tmp_path / "none.json") is None


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b'{"champion": {"version": 1}}', b"[]"])
def test_a_damaged_routing_is_refused_with_the_way_to_mend_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "arms.json").write_bytes(content)
    with pytest.raises(ReleaseError, match="deploy again"):
        read_routing(tmp_path / "arms.json")


def test_an_ended_canary_leaves_champion_and_previous() -> None:
    ended = Routing(champion=ONE, canary=TWO, previous=TWO, share=0.5, salt="s").without_canary()
    assert ended == Routing(champion=ONE, previous=TWO)
    assert ended.arms() == (ONE, TWO)


def test_entries_come_back_in_their_order_and_survive_the_process(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "arms.db")
    for unit in "zab":
        ledger.add(entry(unit=unit))
    ledger.add(entry(phase="replay", first_seconds=None, failed=True))
    ledger.close()
    again = Ledger(tmp_path / "arms.db")
    assert again.entries("c", "live") == [entry(unit=unit) for unit in "zab"]
    assert again.entries("c", "replay") == [entry(phase="replay", first_seconds=None, failed=True)]
    again.add(entry("other"))
    again.forget_others("other")
    assert again.entries("c", "live") == []
    assert len(again.entries("other", "live")) == 1


def test_the_ledger_knows_how_long_nobody_asked(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "arms.db")
    assert ledger.idle_seconds() is None
    ledger.note_asked()
    assert 0 <= (ledger.idle_seconds() or 0) < 60
