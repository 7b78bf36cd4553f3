"""Profiles in SQLite."""

from __future__ import annotations

from pathlib import Path

from serving.memory.profile import Profile, SqliteProfiles
from serving.memory.statements import Statement


def wishes(*values: str) -> list[Statement]:
    return [Statement("preference", value) for value in values]


def test_the_last_name_and_language_hold_and_the_newest_preferences_stand_first(tmp_path: Path) -> None:
    profiles = SqliteProfiles(tmp_path / "memory.db", 3)
    profiles.add("u-1", [Statement("name", "Ann"), Statement("language", "German"), *wishes("a", "b")])
    profiles.add("u-1", [Statement("name", "Anna"), *wishes("c", "A", "d")])
    assert profiles.of("u-1") == Profile("Anna", "German", ("d", "A", "c"))
    assert profiles.of("u-1").lines() == [
        "name: Anna", "language: German", "preference: d", "preference: A", "preference: c",
    ]  # fmt: skip


def test_users_see_their_own_alone_and_what_is_erased_is_gone_from_the_disk(tmp_path: Path) -> None:
    profiles = SqliteProfiles(tmp_path / "memory.db", 8)
    profiles.add("u-1", [Statement("name", "Zebedee")])
    profiles.add("u-2", [Statement("name", "Bob")])
    assert profiles.erase_user("u-1") == 1
    assert (profiles.of("u-1"), profiles.of("u-2").name) == (Profile(), "Bob")
    assert b"Zebedee" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert profiles.erase_user("u-1") == 0


def test_a_profile_is_there_after_the_file_is_reopened(tmp_path: Path) -> None:
    first = SqliteProfiles(tmp_path / "memory.db", 8)
    first.add("u-1", wishes("tea"))
    first.close()
    assert SqliteProfiles(tmp_path / "memory.db", 8).of("u-1").preferences == ("tea",)
