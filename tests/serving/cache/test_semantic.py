"""The semantic cache: what it gives again, and what it never does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from serving.breaker import Breaker
from serving.cache.answers import Answer, Answers, ProcessAnswers, RedisAnswers
from serving.cache.partition import Partition
from serving.cache.semantic import SemanticCache
from serving.options import SHIPPED, BreakerOptions, CacheOptions, load_options
from serving.redis_link import RedisLink
from serving.sentences import Sentences, sentences
from tests.fakes import word_vectors
from tests.serving.test_limits import redis_port as redis_port  # the fixture of a real Redis
from thumbwheel.engine import free_port

OPTIONS = CacheOptions(enabled=True, store="process", scope="tenant", cosine=0.98, ttl_seconds=60, entries=100)
PLAIN = Partition("public", "Be kind.", "bundle", "", {"temperature": 0, "max_tokens": 64})


def one_vector(texts: Sequence[str]) -> Any:
    """The worst sentence model there is: everything means the same."""
    return np.tile(np.array([[1, 0]], np.float32), (len(texts), 1))


def cache_over(encode: Any, answers: Answers | None = None, most: int = 128) -> SemanticCache:
    return SemanticCache(
        OPTIONS, answers or ProcessAnswers(100, 60), Sentences(encode, lambda text: len(text.split()), most)
    )


async def ask(cache: SemanticCache, partition: Partition, question: str, reply: str, user: str = "u-1") -> str:
    """Return the cached answer to a question, or keep `reply` as its answer and return that."""
    lookup = await cache.look(partition, question)
    if lookup.answer:
        return lookup.answer.text
    await cache.keep(lookup, Answer(question, reply, "stop", 7, 6, "chat/3", user))
    return reply


FIELD = st.sampled_from(["a", "b"])
PARTITION = st.builds(
    Partition, FIELD, FIELD, FIELD, FIELD, st.dictionaries(st.sampled_from(["top_p", "seed"]), st.integers(0, 1))
)
ASKED = st.lists(st.tuples(PARTITION, st.sampled_from(["What is it?", "what is it", "Why 5?", "Why 6?"])), max_size=25)


async def never_crosses(cache: SemanticCache, asked: list[tuple[Partition, str]]) -> int:
    """Ask all questions, each answered by its own number; check where each answer comes from; return the hits."""
    hits = 0
    for number, (partition, question) in enumerate(asked):
        reply = await ask(cache, partition, question, str(number))
        source, original = asked[int(reply)]
        assert source == partition
        assert original.lower().strip("?") == question.lower().strip("?")
        hits += int(reply) != number
    return hits


@given(ASKED)
def test_no_answer_ever_crosses_a_partition_even_if_all_questions_mean_the_same(
    asked: list[tuple[Partition, str]],
) -> None:
    hits = asyncio.run(never_crosses(cache_over(one_vector), asked))
    different = {(partition.key, question.lower().strip("?")) for partition, question in asked}
    assert hits == len(asked) - len(different)


@pytest.mark.slow
def test_nor_does_one_in_redis(redis_port: int) -> None:
    import random

    rng = random.Random(7)

    async def run() -> int:
        link = RedisLink(f"redis://127.0.0.1:{redis_port}", Breaker(PATIENT), 30)
        cache = cache_over(one_vector, RedisAnswers(link, 1000, 60))
        fields = [[rng.choice("ab") for _ in range(4)] for _ in range(300)]
        asked = [
            (Partition(*field, {"seed": rng.randint(0, 1)}), rng.choice(["What is it?", "Why 5?"])) for field in fields
        ]
        return await never_crosses(cache, asked)

    assert asyncio.run(run()) > 200


PATIENT = BreakerOptions(failures=1, rest_seconds=0.01)


@given(PARTITION, PARTITION)
def test_partitions_share_a_key_only_if_they_are_the_same(one: Partition, other: Partition) -> None:
    assert (one.key == other.key) == (one == other)


@pytest.mark.parametrize(("name", "value"), [("scope", "u"), ("system", "Be"), ("model", "x"), ("index", "2")])
def test_each_field_parts(name: str, value: str) -> None:
    assert Partition(**{**vars(PLAIN), name: value}).key != PLAIN.key


def test_near_questions_with_the_same_words_that_matter_share_an_answer_and_others_do_not() -> None:
    async def run() -> list[str]:
        cache = cache_over(word_vectors)
        questions = ["How do I reset hub 5?", "how do i reset HUB 5", "How do I reset hub 6?", "Where is my parcel?"]
        return [await ask(cache, PLAIN, question, str(number)) for number, question in enumerate(questions)]

    assert asyncio.run(run()) == ["0", "0", "2", "3"]


def test_a_question_of_which_the_model_reads_only_a_part_is_never_cached() -> None:
    async def run() -> list[str]:
        cache = cache_over(one_vector, most=5)
        return [await ask(cache, PLAIN, "one two three four five six", reply) for reply in "ab"]

    assert asyncio.run(run()) == ["a", "b"]


def test_a_disliked_or_corrected_answer_is_gone_and_a_liked_one_stays() -> None:
    async def run() -> list[str]:
        cache = cache_over(one_vector)
        got = [await ask(cache, PLAIN, "What?", "bad")]
        for rating, correction in (("up", None), ("down", None), (None, "better")):
            await cache.disliked({"rating": rating, "correction": correction, "model": "chat/3", "reply": got[-1]})
            got.append(await ask(cache, PLAIN, "What?", f"after {rating}"))
        return got

    assert asyncio.run(run()) == ["bad", "bad", "after down", "after None"]


def test_a_promotion_and_an_erasure_purge() -> None:
    async def run() -> list[str]:
        cache = cache_over(one_vector)
        got = [await ask(cache, PLAIN, "What?", "1")]
        await cache.promoted("chat/3")
        got.append(await ask(cache, PLAIN, "What?", "2"))
        await cache.promoted("chat/4")
        got.append(await ask(cache, PLAIN, "What?", "3"))
        assert await cache.erase_user("u-1") == 1
        got.append(await ask(cache, PLAIN, "What?", "4"))
        return got

    assert asyncio.run(run()) == ["1", "1", "3", "4"]


def degraded() -> float | None:
    return REGISTRY.get_sample_value("thumbwheel_degraded", {"part": "cache"})


def test_without_its_model_or_its_store_it_has_nothing_and_says_so() -> None:
    def broken(texts: Sequence[str]) -> Any:
        raise OSError("no model")

    async def run() -> list[tuple[str, float | None]]:
        got = [(await ask(cache_over(broken), PLAIN, "What?", "plain"), degraded())]
        link = RedisLink(f"redis://127.0.0.1:{free_port()}", Breaker(PATIENT), 0.5)
        away = cache_over(one_vector, RedisAnswers(link, 10, 60))
        got.append((await ask(away, PLAIN, "What?", "plain"), degraded()))
        got.append((await ask(cache_over(one_vector), PLAIN, "What?", "plain"), degraded()))
        return got

    assert asyncio.run(run()) == [("plain", 1), ("plain", 1), ("plain", 0)]


@pytest.mark.slow
def test_the_real_model_finds_the_same_question_and_the_words_keep_near_ones_apart() -> None:
    async def run() -> list[str]:
        cache = SemanticCache(OPTIONS, ProcessAnswers(100, 60), sentences(load_options(SHIPPED).sentences))
        questions = [
            "What is the warranty of the Brindle Hub?",
            "what is the warranty of the brindle hub",
            "Please tell me, what is the warranty of the Brindle Hub?",
            "What is the warranty of the Brindle Valve?",
            " ".join(["word"] * 200),
            " ".join(["word"] * 200),
        ]
        return [await ask(cache, PLAIN, question, str(number)) for number, question in enumerate(questions)]

    got = asyncio.run(run())
    assert got[:2] == ["0", "0"]
    assert got[3:] == ["3", "4", "5"]
