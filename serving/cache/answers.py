"""Where cached answers are kept, each under tags by which it is purged: whose it was, which model's, what it says."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from serving.cache.index import NearestQuestions
from serving.redis_link import RedisLink

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Answer:
    """A whole answer as the engine gave it, to `question`, asked by `user`; `finish` is `stop` or `length`."""

    question: str
    text: str
    finish: str
    prompt_tokens: int
    reply_tokens: int
    model: str
    user: str
    retrieved: dict[str, Any] | None = None
    """The documents that it rests on."""

    @property
    def tags(self) -> tuple[str, ...]:
        return user_tag(self.user), model_tag(self.model), text_tag(self.model, self.text)


class Answers(Protocol):
    """Where answers are; `index` is brought up to date by `refresh`. Each call may raise `StoreError`."""

    index: NearestQuestions

    async def refresh(self) -> None: ...

    async def get(self, name: str) -> Answer | None: ...

    async def question(self, name: str) -> str | None: ...

    async def add(self, partition: str, vector: np.ndarray, answer: Answer) -> None: ...

    async def purge(self, tag: str) -> int: ...

    async def purge_other_models(self, model: str) -> int: ...


def user_tag(user: str) -> str:
    return f"user:{user}"


def model_tag(model: str) -> str:
    return f"model:{model}"


def text_tag(model: str, text: str) -> str:
    """Return the tag of what an answer says: every copy of it, wherever it was given, bears it."""
    said = f"{model}\n{text}".encode("utf-8", "surrogatepass")
    return f"text:{hashlib.sha256(said).hexdigest()}"


class ProcessAnswers:
    """Answers of this process, for so long each, the oldest leaving beyond `most`."""

    def __init__(self, most: int, ttl_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.index = NearestQuestions(most)
        self._ttl, self._clock, self._added = ttl_seconds, clock, 0
        self._kept: dict[str, tuple[float, Answer]] = {}
        self._tagged: dict[str, set[str]] = {}

    async def refresh(self) -> None:
        """Drop what is past its time: the oldest were added first."""
        while self._kept and self._clock() >= next(iter(self._kept.values()))[0]:
            self._remove(next(iter(self._kept)))

    async def get(self, name: str) -> Answer | None:
        return self._kept[name][1] if name in self._kept else None

    async def question(self, name: str) -> str | None:
        return self._kept[name][1].question if name in self._kept else None

    async def add(self, partition: str, vector: np.ndarray, answer: Answer) -> None:
        self._added += 1
        name = str(self._added)
        self._kept[name] = (self._clock() + self._ttl, answer)
        for tag in answer.tags:
            self._tagged.setdefault(tag, set()).add(name)
        for old in self.index.add(partition, name, vector):
            self._remove(old)

    async def purge(self, tag: str) -> int:
        names = [*self._tagged.get(tag, ())]
        for name in names:
            self._remove(name)
        return len(names)

    async def purge_other_models(self, model: str) -> int:
        others = [tag for tag in self._tagged if tag.startswith("model:") and tag != model_tag(model)]
        return sum([await self.purge(tag) for tag in others])

    def _remove(self, name: str) -> None:
        _, answer = self._kept.pop(name)
        self.index.remove(name)
        for tag in answer.tags:
            self._tagged[tag].discard(name)
            if not self._tagged[tag]:
                del self._tagged[tag]


PREFIX = "thumbwheel:cache"
LOG = f"{PREFIX}:log"
BATCH = 500
ADD = """
local name = redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[1], '*',
                        'partition', ARGV[3], 'vector', ARGV[4], 'question', ARGV[5])
redis.call('XTRIM', KEYS[1], 'MINID', string.format('%d', tonumber(string.match(name, '^%d+')) - ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2] .. name, ARGV[6], 'PX', ARGV[2])
for i = 7, #ARGV do
    redis.call('SADD', KEYS[3] .. ARGV[i], name)
    redis.call('PEXPIRE', KEYS[3] .. ARGV[i], ARGV[2])
end
return name
"""
"""An entry of the log, its answer and its tags, all at once; the log holds no question that is past its time."""
PURGE = """
local names = redis.call('SMEMBERS', KEYS[3] .. ARGV[1])
local gone = 0
for _, name in ipairs(names) do
    gone = gone + redis.call('DEL', KEYS[2] .. name)
    redis.call('XDEL', KEYS[1], name)
end
redis.call('DEL', KEYS[3] .. ARGV[1])
return gone
"""
KEYS = (LOG, f"{PREFIX}:answer:", f"{PREFIX}:tag:")
"""The log, and what the keys of answers and tags begin with. They lie in one Redis, not in a cluster of them."""


class RedisAnswers:
    """Answers that all processes share.

    A log in Redis tells every process of new questions, whose vectors it mirrors; the answer itself stays in Redis and
    is fetched at the moment of use. So what was purged or is past its time is never given, whatever a mirror holds.
    """

    def __init__(self, link: RedisLink, most: int, ttl_seconds: float) -> None:
        self.index = NearestQuestions(most)
        self._link, self._most, self._ttl = link, most, int(ttl_seconds * 1000)
        self._questions: dict[str, str] = {}
        self._read = "0"

    async def refresh(self) -> None:
        """Mirror what was added since the last time."""
        import numpy as np

        while True:
            rows = await self._link.call(lambda redis: redis.xrange(LOG, f"({self._read}", "+", BATCH))
            for raw, entry in rows:
                self._read = name = raw.decode()
                self._questions[name] = entry[b"question"].decode("utf-8", "replace")
                vector = np.frombuffer(entry[b"vector"], np.float32)
                for old in self.index.add(entry[b"partition"].decode(), name, vector):
                    self._questions.pop(old, None)
            if len(rows) < BATCH:
                return

    async def get(self, name: str) -> Answer | None:
        found = await self._link.call(lambda redis: redis.get(f"{KEYS[1]}{name}"))
        if found is None:
            self.index.remove(name)
            self._questions.pop(name, None)
            return None
        return Answer(**json.loads(found))

    async def question(self, name: str) -> str | None:
        return self._questions.get(name)

    async def add(self, partition: str, vector: np.ndarray, answer: Answer) -> None:
        import numpy as np

        arguments = (
            self._most,
            self._ttl,
            partition,
            np.asarray(vector, np.float32).tobytes(),
            answer.question.encode("utf-8", "replace"),
            json.dumps(asdict(answer)),
            *answer.tags,
        )
        await self._eval(ADD, *arguments)

    async def purge(self, tag: str) -> int:
        return int(await self._eval(PURGE, tag))

    async def purge_other_models(self, model: str) -> int:
        begin = f"{KEYS[2]}model:"

        async def others(redis: Any) -> list[str]:
            found = [key.decode().removeprefix(KEYS[2]) async for key in redis.scan_iter(f"{begin}*")]
            return [tag for tag in found if tag != model_tag(model)]

        return sum([await self.purge(tag) for tag in await self._link.call(others)])

    async def _eval(self, script: str, *arguments: Any) -> Any:
        return await self._link.call(lambda redis: redis.eval(script, len(KEYS), *KEYS, *arguments))
