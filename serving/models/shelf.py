"""The shelf: adapters that may be served, each in a folder named by its hash, and the list of them.

Named by content, a folder never changes under its name, so that what the engine keeps of it (weights in memory, blocks
in its prefix cache) is never of other files.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from thumbwheel.errors import ModelError, ReleaseError, SettingsError
from thumbwheel.folders import folder_hash, whole_folder
from thumbwheel.settings import settings

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
SHORT = 12
"""Digits of a hash that stand in names."""


class Adapter(BaseModel):
    """An adapter on the shelf: its hash, the bundle it goes with, and who may use it (None: everybody)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str
    bundle: str
    rank: int
    tiers: list[str] | None
    tenants: list[str] | None

    @property
    def served_name(self) -> str:
        """Return the engine's name for it, which no other files can have."""
        return f"{self.name}@{self.sha256[:SHORT]}"

    def is_for(self, tier: str, tenant: str | None) -> bool:
        """Tell whether a caller of this tier and tenant may use it."""
        return (self.tiers is None or tier in self.tiers) and (self.tenants is None or tenant in self.tenants)


class Shelf:
    """The adapters of one service, under `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: tuple[int, int] | None = None
        self._adapters: dict[str, Adapter] = {}

    def read(self) -> dict[str, Adapter]:
        """Return the adapters by name.

        Raises:
            SettingsError: the file is not one of adapters.
        """
        try:
            state = self._list.stat()
        except FileNotFoundError:
            return {}
        if self._seen != (seen := (state.st_mtime_ns, state.st_ino)):
            self._adapters, self._seen = self._load(), seen
        return self._adapters

    def place(self, mark: str) -> Path:
        """Return where files of this hash lie, or would."""
        return self._folder / mark

    def folder(self, adapter: Adapter) -> Path:
        """Return where an adapter's files lie, after a look at every byte.

        Raises:
            ReleaseError: they are gone, or others than were put there.
        """
        place = self.place(adapter.sha256)
        if not place.is_dir() or (found := folder_hash(place)) != adapter.sha256:
            seen = f"has hash {found[:SHORT]}" if place.is_dir() else "is gone"
            raise ReleaseError(
                f"the adapter '{adapter.name}' in {place} {seen}, but {adapter.sha256[:SHORT]} was put there; "
                f"put it there again: python -m serving.models.adapters load {adapter.name} FOLDER."
            )
        return place

    def copy(self, source: Path, expected: str | None = None) -> str:
        """Copy an adapter's two files onto the shelf and return their hash; nothing is listed yet.

        Raises:
            ModelError: the folder holds no adapter in safetensors.
            ReleaseError: its hash is not the expected one.
        """
        with whole_folder(self._folder / "new") as part:
            for name in (CONFIG, WEIGHTS):
                if not (source / name).is_file():
                    raise ModelError(f"{source} holds no adapter (no {name}); save it by peft's save_pretrained.")
                shutil.copyfile(source / name, part / name)
            mark = folder_hash(part)
        if expected not in (None, mark):
            raise ReleaseError(
                f"the adapter in {source} has hash {mark}, and {expected} was asked for; nothing is loaded."
            )
        if not (place := self.place(mark)).is_dir() or folder_hash(place) != mark:
            shutil.rmtree(place, ignore_errors=True)
            (self._folder / "new").replace(place)
        return mark

    def put(self, adapter: Adapter) -> None:
        """List an adapter whose files lie here; one of the same name goes."""
        self._write({**self.read(), adapter.name: adapter})

    def take(self, name: str) -> Adapter:
        """Unlist the adapter of this name and return it.

        Raises:
            SettingsError: there is none.
        """
        adapters = dict(self.read())
        if name not in adapters:
            raise SettingsError(f"there is no adapter '{name}'; it is one of: {', '.join(adapters) or 'none'}.")
        taken = adapters.pop(name)
        self._write(adapters)
        return taken

    def sweep(self) -> None:
        """Remove the files of what is no longer listed."""
        wanted = {self.place(one.sha256).name for one in self.read().values()}
        for place in self._folder.iterdir():
            if place.is_dir() and place.name not in wanted:
                shutil.rmtree(place)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let one command at a time change the shelf."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @property
    def _list(self) -> Path:
        return self._folder / "adapters.json"

    def _load(self) -> dict[str, Adapter]:
        try:
            return {row["name"]: Adapter(**row) for row in json.loads(self._list.read_text())}
        except (ValueError, TypeError, KeyError, ValidationError) as error:
            raise SettingsError(f"{self._list} is not a list of adapters ({error}); move it away.") from None

    def _write(self, adapters: dict[str, Adapter]) -> None:
        part = self._list.with_name(f"{self._list.name}.{os.getpid()}.part")
        part.write_text(json.dumps([one.model_dump() for one in adapters.values()], indent=1))
        part.replace(self._list)


def adapter_shelf() -> Shelf:
    """Return the shelf of the service that this root and state belong to."""
    return Shelf(settings().state_dir / "adapters")
