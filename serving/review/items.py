"""The items that wait for reviewers, as `stages.enqueue` wrote them, and how one is shown: blind, its sides drawn."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from thumbwheel.reviews import BAD, PREFERS_OTHER, PREFERS_REPLY, RELEASE, SIDES, SKIPPED, TIE

logger = logging.getLogger(__name__)

Letter = Literal["a", "b", "tie", "skip"]
SAID = {"tie": TIE, "skip": SKIPPED}


@dataclass(frozen=True)
class Item:
    """One row of the queue. Its two texts stand in a fixed order: reply and other, or candidate and champion."""

    row: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.row["id"])

    @property
    def is_release(self) -> bool:
        return bool(self.row["kind"] == RELEASE)

    @property
    def prompt(self) -> list[dict[str, str]]:
        if self.is_release:
            return [{"role": "user", "content": self.row["turns"][0]}]
        return list(self.row["prompt"])

    @property
    def texts(self) -> tuple[str, str | None]:
        if self.is_release:
            first, second = (conversation(self.row["turns"], self.row[side]["replies"]) for side in SIDES)
            return first, second
        return self.row["reply"], self.row["other"]

    def swapped(self, reviewer: str, key: bytes) -> bool:
        """Tell whether the second text stands first for a reviewer: drawn by a keyed hash, and the same every time."""
        if self.texts[1] is None:
            return False
        drawn = hmac.new(key, f"{self.id}\n{reviewer}".encode(), hashlib.sha256).digest()
        return bool(drawn[0] & 1)

    def shown(self, reviewer: str, key: bytes) -> dict[str, Any]:
        """Return what a reviewer sees: no model, no rating, nothing that tells the sides apart."""
        texts = self.texts[::-1] if self.swapped(reviewer, key) else self.texts
        alone = None if texts[1] is not None else {"spans": self.row["spans"] or [], "reasons": self.row["reasons"]}
        return {"id": self.id, "prompt": self.prompt, "a": texts[0], "b": texts[1], "disliked": alone}

    def verdict(self, letter: Letter, reviewer: str, key: bytes) -> str:
        """Return what a reviewer's letter says of the texts, whatever side they stood on."""
        if letter in SAID:
            return SAID[letter]
        is_first = (letter == "a") != self.swapped(reviewer, key)
        if self.is_release:
            return SIDES[0] if is_first else SIDES[1]
        if self.texts[1] is None:
            return PREFERS_REPLY if is_first else BAD
        return PREFERS_REPLY if is_first else PREFERS_OTHER


class ItemFile:
    """The queue's file, read again as soon as it changes; without one nothing waits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._items: dict[str, Item] = {}

    def read(self) -> dict[str, Item]:
        """Return the items by id, in their order; those of before where the file cannot be read."""
        try:
            state = self._path.stat()
            if self._seen != (seen := (state.st_mtime_ns, state.st_ino)):
                rows = json.loads(self._path.read_text())["items"]
                self._items, self._seen = {str(row["id"]): Item(row) for row in rows}, seen
        except FileNotFoundError:
            self._items, self._seen = {}, None
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("the review queue %s cannot be read: %s", self._path, error)
        return self._items


def conversation(turns: list[str], replies: list[str]) -> str:
    """Return a conversation from its first reply on as one text; later questions stand on lines of their own."""
    told = [replies[0]]
    for turn, reply in zip(turns[1:], replies[1:], strict=False):
        told += [f"▸ {turn}", reply]
    return "\n\n".join(told)
