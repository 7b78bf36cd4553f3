from __future__ import annotations

from pathlib import Path

from thumbwheel.secret import secret_key


def test_the_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "a.key"
    first = secret_key(path)
    assert secret_key(path) == first
    assert len(first) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["a.key"]
