"""The classifier's own labelled texts: wishes in frames, with and without attempts to talk a model out of its rules.

Everything is drawn from `data/seed/guard` and the help articles by a seeded generator. The same frames, purposes and
roles stand around harmful and harmless wishes, so that they give nothing away.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
SEED_DATA = ROOT / "data" / "seed"
HELD_OUT = 5
"""One family in so many validates."""
FRONT_MATTER = re.compile(r"\A---.*?---", re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A text and, head by head, what it is; a head that is None learns nothing from it.

    `family` is the wish or the template: examples of one family are never on both sides of a split.
    """

    text: str
    family: str
    harm: bool | None = None
    jailbreak: bool | None = None
    instruction: bool | None = None
    abuse: bool | None = None

    @property
    def held_out(self) -> bool:
        """Whether it validates instead of training, by a hash of its family."""
        return hashlib.sha256(self.family.encode()).digest()[0] % HELD_OUT == 0


def examples(seed: int, frames_a_wish: int) -> list[Example]:
    """Return the training set; `frames_a_wish` is how often a wish is put into words of each kind."""
    draw, frames = random.Random(seed), _read("frames")
    wishes = [(act, True) for acts in _read("harmful").values() for act in acts]
    wishes += [(act, False) for acts in _read("harmless").values() for act in acts]
    asked = [each for act, harm in wishes for each in _asked(act, harm, frames, frames_a_wish, draw)]
    short = [*asked, *_topics(draw, frames_a_wish), *_as_they_come(draw, frames, frames_a_wish)]
    return [*short, *_long(short, draw), *_documents(draw, [act for act, harm in wishes]), *_abuse()]


def _asked(act: str, harm: bool, frames: dict[str, Any], times: int, draw: random.Random) -> Iterator[Example]:
    plain = Example("", act, harm, jailbreak=False, abuse=False)
    for frame in draw.sample(frames["requests"], times):
        yield replace(plain, text=_filled(frame, act=act), instruction=True)
    for purpose in draw.sample(frames["purposes"], times // 2):
        yield replace(plain, text=_wrapped(purpose, act, frames, draw))
    for role in draw.sample(frames["roles"], times // 3):
        text = _wrapped(role, act, frames, draw).replace("{role}", draw.choice(frames["names"]))
        yield replace(plain, text=text)
    for jailbreak in draw.sample(frames["jailbreaks"], times // 2):
        yield replace(plain, text=_wrapped(jailbreak, act, frames, draw), jailbreak=True)


def _wrapped(frame: str, act: str, frames: dict[str, Any], draw: random.Random) -> str:
    return frame.replace("{request}", _filled(draw.choice(frames["requests"]), act=act))


def _topics(draw: random.Random, times: int) -> Iterator[Example]:
    read = _read("topics")
    for name, harm in (("harmful", True), ("harmless", False)):
        for topic in read[name]:
            plain = Example("", topic, harm, jailbreak=False)
            for frame in draw.sample(read["frames"], times):
                yield replace(plain, text=_filled(frame, topic=topic))


def _as_they_come(draw: random.Random, frames: dict[str, Any], times: int) -> Iterator[Example]:
    read = _read("asked")
    for name, harm in (("harmful", True), ("harmless", False)):
        for text in read[name]:
            plain = Example(text, text, harm, jailbreak=False)
            yield plain
            for purpose in draw.sample(frames["purposes"], times // 2):
                yield replace(plain, text=purpose.replace("{request}", text))
            for jailbreak in draw.sample(frames["jailbreaks"], times // 4):
                yield replace(plain, text=jailbreak.replace("{request}", text), jailbreak=True)


def _long(short: list[Example], draw: random.Random) -> Iterator[Example]:
    """Yield texts of several requests, all of one side of a split; a harmful one makes all of it harmful."""
    harmless = [each for each in short if each.harm is False and not each.jailbreak]
    sides = {side: [each.text for each in harmless if each.held_out is side] for side in (True, False)}
    for example in draw.sample(short, len(short) // 3):
        texts = [example.text, *draw.sample(sides[example.held_out], draw.randint(1, 4))]
        draw.shuffle(texts)
        yield replace(example, text=" ".join(texts), instruction=None, abuse=False)


def _documents(draw: random.Random, acts: list[str]) -> Iterator[Example]:
    read = _read("documents")
    for sentence in (*read["sentences"], *_articles(), *_replies()):
        yield Example(sentence, sentence, harm=False, jailbreak=False, instruction=False, abuse=False)
    for frame in read["addressed"]:
        fill = read["places"] if "{place}" in frame else draw.sample(acts, 12)
        for value in fill:
            yield Example(_filled(frame, act=value, place=value), frame, instruction=True)


def _articles() -> Iterator[str]:
    """Yield the sentences of the help articles."""
    for path in sorted((SEED_DATA / "knowledge").glob("*.md")):
        body = FRONT_MATTER.sub("", path.read_text(encoding="utf-8"))
        yield from _sentences(body)


def _replies() -> Iterator[str]:
    """Yield the sentences of the assistant's replies in the seed's helpful pairs, which tell people what to do."""
    for line in (SEED_DATA / "preferences" / "helpful.jsonl").read_text(encoding="utf-8").splitlines():
        pair = json.loads(line)
        yield from _sentences(pair["chosen"])


def _sentences(text: str) -> Iterator[str]:
    return filter(None, (sentence.strip() for sentence in re.split(r"(?<=[.!?])\s+", text)))


def _abuse() -> Iterator[Example]:
    read = _read("abuse")
    for name, abuse in (("abusive", True), ("harmless", False)):
        for frame in read[name]:
            slot = re.search(r"\{(group|person)\}", frame)
            for value in read[f"{slot.group(1)}s"] if slot else [""]:
                text = _filled(frame, group=value, person=value)
                yield Example(text, frame, harm=False, jailbreak=False, abuse=abuse)


def _filled(frame: str, **values: str) -> str:
    for name, value in values.items():
        frame = frame.replace(f"{{{name}}}", value)
    return frame[:1].upper() + frame[1:]


def _read(name: str) -> dict[str, Any]:
    value = yaml.safe_load((SEED_DATA / "guard" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value
