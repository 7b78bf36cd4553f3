"""Named rules over folded text: attacks whose wording is known, kept as versioned data in `patterns.yaml`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from thumbwheel.errors import ParamsError
from thumbwheel.moderation.encodings import turned
from thumbwheel.moderation.normalise import fold, fold_character, views

SHIPPED = Path(__file__).with_name("patterns.yaml")

ESCAPE = re.compile(r"\\\w")
WORD = re.compile(r"\w{4,}")
CLUES = 2
"""Words of the rules that a text must hold in rot13, or backwards, to be read that way; plain texts hold none."""

Place = Literal["request", "document", "reply"]


class Pattern(BaseModel):
    """One rule; `finds` and `passes` are the examples that it is held to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    places: tuple[Place, ...]
    pattern: re.Pattern[str]
    finds: tuple[str, ...]
    passes: tuple[str, ...]

    @field_validator("pattern", mode="before")
    @classmethod
    def _compiled(cls, value: str) -> re.Pattern[str]:
        try:
            return re.compile("".join(one if one.isascii() else fold_character(one) for one in value))
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None


class Patterns(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    rules: tuple[Pattern, ...]

    def at(self, place: Place) -> tuple[Pattern, ...]:
        """Return the rules for one place."""
        return tuple(rule for rule in self.rules if place in rule.places)


@cache
def patterns(path: Path = SHIPPED) -> Patterns:
    """Return the rules of a file.

    Raises:
        ParamsError: the file is missing or malformed.
    """
    try:
        return Patterns.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ParamsError(f"{path.name}: {error}.") from None
    except ValidationError as error:
        item = error.errors()[0]
        raise ParamsError(f"{path.name}: '{'.'.join(map(str, item['loc']))}': {item['msg']}") from None


@cache
def _at(place: Place) -> tuple[Pattern, ...]:
    return patterns().at(place)


@cache
def _clues(place: Place) -> list[frozenset[str]]:
    """Return the words that the rules of a place speak of, as they are written in rot13, and backwards."""
    told = [text for rule in _at(place) for text in (ESCAPE.sub(" ", rule.pattern.pattern), *map(fold, rule.finds))]
    words = {word for text in told for word in WORD.findall(text)}
    rot13, backwards, _ = zip(*map(turned, words), strict=True)
    return [frozenset(rot13), frozenset(backwards)]


def first_match(readings: Iterable[str], place: Place) -> str | None:
    """Return the name of the first rule that one of the readings of a text breaks, as `views` gives them.

    Where none does, and the first one has words of the rules in rot13 or backwards, it is read that way, too, unless it
    is a reply, which orders nobody about.
    """
    readings = list(readings)
    found = _first(readings, place)
    return _first(_turned(readings, place), place) if found is None and place != "reply" else found


def _first(readings: Sequence[str], place: Place) -> str | None:
    found = (rule.name for rule in _at(place) for reading in readings if rule.pattern.search(reading))
    return next(found, None)


def _turned(readings: Sequence[str], place: Place) -> list[str]:
    words = {word for reading in readings[:1] for word in WORD.findall(reading)}
    return turned(readings[0]) if any(len(words & clues) >= CLUES for clues in _clues(place)) else []


def attack(text: str, place: Place) -> str | None:
    """Return the name of the first rule that a text breaks in any of its readings."""
    return first_match(views(text), place)
