"""API keys: made, listed and revoked here, kept as SHA-256 of 256 random bits, seen once by whoever made them.

python -m serving.keys add NAME --tier standard
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.options import load_options
from thumbwheel.errors import SettingsError
from thumbwheel.knowledge import TENANT, tenant_name
from thumbwheel.settings import settings

PREFIX = "tw-"
MOST_DAYS = 36_500


class Key(BaseModel):
    """A key as it is kept; its secret is not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str
    tier: str
    sha256: str
    created_at: datetime
    expires_at: datetime | None
    tenant: str | None = Field(None, pattern=TENANT)
    """Whose documents its bearer is answered from, beside those that everybody is."""


class KeyFile:
    """All keys, in a file that its owner alone can read; read again as soon as it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._keys: dict[str, Key] = {}

    def find(self, credential: str, now: datetime | None = None) -> Key | None:
        """Return the key that `credential` is, or None where it is unknown, revoked or past its time."""
        name, _, secret = credential.removeprefix(PREFIX).partition("-")
        key = self.read().get(name)
        if key is None or not hmac.compare_digest(key.sha256, digest(secret)):
            return None
        return None if key.expires_at and key.expires_at <= (now or datetime.now(UTC)) else key

    def read(self) -> dict[str, Key]:
        """Return the keys by id.

        Raises:
            SettingsError: the file is not one of keys.
        """
        try:
            state = self._path.stat()
        except FileNotFoundError:
            return {}
        if self._seen != (seen := (state.st_mtime_ns, state.st_ino)):
            self._keys, self._seen = self._load(), seen
        return self._keys

    def add(self, name: str, tier: str, days: float | None = None, tenant: str | None = None) -> tuple[Key, str]:
        """Make a key and return it with the credential, which is not kept."""
        secret, now = secrets.token_urlsafe(32), datetime.now(UTC)
        key = Key(
            id=secrets.token_hex(6),
            name=name,
            tier=tier,
            sha256=digest(secret),
            created_at=now,
            expires_at=None if days is None else now + timedelta(days=days),
            tenant=tenant,
        )
        with self._alone():
            self._write({**self.read(), key.id: key})
        return key, f"{PREFIX}{key.id}-{secret}"

    def revoke(self, name: str) -> Key:
        """Remove the key with this id.

        Raises:
            SettingsError: there is no such key.
        """
        with self._alone():
            keys = dict(self.read())
            if name not in keys:
                raise SettingsError(f"there is no key '{name}'; it is one of: {', '.join(keys) or 'none'}.")
            revoked = keys.pop(name)
            self._write(keys)
        return revoked

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process at a time change the file, or one's key would be lost in another's."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_name(f"{self._path.name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _load(self) -> dict[str, Key]:
        try:
            return {row["id"]: Key(**row) for row in json.loads(self._path.read_text())}
        except (ValueError, TypeError, KeyError, ValidationError) as error:
            raise SettingsError(f"{self._path} is not a file of API keys ({error}); move it away.") from None

    def _write(self, keys: dict[str, Key]) -> None:
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        rows = [key.model_dump(mode="json") for key in keys.values()]
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(rows, file, indent=1)
        part.replace(self._path)


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def key_file() -> KeyFile:
    return KeyFile(settings().api_keys or settings().state_dir / "api_keys.json")


def main() -> None:
    wish = _arguments()
    keys = key_file()
    if wish.action == "add":
        key, credential = keys.add(wish.name, wish.tier, wish.days, wish.tenant)
        print(f"Key {key.id} for {key.name}, tier {key.tier}. It is shown this once:\n{credential}")
    elif wish.action == "revoke":
        print(f"Revoked the key of {keys.revoke(wish.id).name}.")
    else:
        for key in keys.read().values():
            print("  ".join([key.id, f"{key.tier:10}", key.name, _until(key), *filter(None, [key.tenant])]))


def _arguments() -> Any:
    parser = argparse.ArgumentParser(prog="python -m serving.keys", description="API keys of the chat service.")
    actions = parser.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", help="make a key")
    add.add_argument("name", type=_line, help="whom or what it is for")
    add.add_argument("--tier", default="standard", choices=sorted(load_options().limits.tiers))
    add.add_argument("--days", type=_ahead, help="how long it is good for; for ever unless given")
    add.add_argument("--tenant", type=tenant_name, help="whose documents it is answered from beside the shared ones")
    actions.add_parser("list", help="show all keys")
    actions.add_parser("revoke", help="end a key").add_argument("id")
    return parser.parse_args()


def _line(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise argparse.ArgumentTypeError("a name is one line that says something")
    return value.strip()


def _ahead(value: str) -> float:
    try:
        days = float(value)
    except ValueError:
        days = 0.0
    if not 0 < days <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"'{value}' is no number of days between 0 and {MOST_DAYS:,}")
    return days


def _until(key: Key) -> str:
    return "for ever" if key.expires_at is None else f"until {key.expires_at:%Y-%m-%d %H:%M}Z"


if __name__ == "__main__":
    from thumbwheel.command import run

    run(main)
