"""Vectors of sentences for many requests at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from serving.sentences import AT_ONCE, Sentences
from tests.waiting import eventually
from thumbwheel.errors import ModelError


class Model:
    """Gives each text its length as its vector; reads the text `slow` until told to go on, and none that is `bad`."""

    def __init__(self) -> None:
        self.read: list[list[str]] = []
        self.go_on = threading.Event()

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.read.append([*texts])
        if "slow" in texts:
            self.go_on.wait(30)
        if "bad" in texts:
            raise ValueError("it cannot be read")
        return np.array([[len(text)] for text in texts], np.float32)


async def started(model: Model, sentences: Sentences) -> asyncio.Task[np.ndarray]:
    """Return a call under way in the model."""
    task = asyncio.ensure_future(sentences.vector("slow"))
    assert await asyncio.to_thread(eventually, lambda: model.read == [["slow"]])
    return task


async def asked(sentences: Sentences, *calls: list[str]) -> list[asyncio.Task[np.ndarray]]:
    tasks = [asyncio.ensure_future(sentences.vectors(texts)) for texts in calls]
    await asyncio.sleep(0)
    return tasks


async def test_what_is_asked_for_while_the_model_is_busy_is_read_together_next() -> None:
    model = Model()
    sentences = Sentences(model, len, 1000)
    first = await started(model, sentences)
    later = await asked(sentences, ["a"], ["bb", "ccc"], ["dddd"])
    model.go_on.set()
    found = await asyncio.gather(*later)
    assert model.read == [["slow"], ["a", "bb", "ccc", "dddd"]]
    assert [vectors.tolist() for vectors in found] == [[[1]], [[2], [3]], [[4]]]
    assert (await first).tolist() == [4]


async def test_no_more_are_read_together_than_the_limit() -> None:
    model = Model()
    sentences = Sentences(model, len, 1000)
    first = await started(model, sentences)
    later = await asked(sentences, *([f"{number}"] for number in range(AT_ONCE + 3)))
    model.go_on.set()
    await asyncio.gather(first, *later)
    assert [len(texts) for texts in model.read] == [1, AT_ONCE, 3]


async def test_a_text_that_cannot_be_read_fails_alone() -> None:
    model = Model()
    sentences = Sentences(model, len, 1000)
    first = await started(model, sentences)
    bad, good, better = await asked(sentences, ["bad"], ["good"], ["better"])
    model.go_on.set()
    assert (await first).tolist() == [4]
    assert (await good).tolist() == [[4]]
    assert (await better).tolist() == [[6]]
    with pytest.raises(ModelError, match="cannot be used: it cannot be read"):
        await bad


async def test_who_left_before_their_turn_is_not_read_for() -> None:
    model = Model()
    sentences = Sentences(model, len, 1000)
    first = await started(model, sentences)
    gone, stays = await asked(sentences, ["gone"], ["stays"])
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    model.go_on.set()
    await asyncio.gather(first, stays)
    assert model.read == [["slow"], ["stays"]]


async def test_a_text_longer_than_the_model_reads_has_no_vector_of_the_whole() -> None:
    sentences = Sentences(Model(), len, 3)
    assert await sentences.vector_of_whole("four") is None
    assert (await sentences.vector("four")).tolist() == [4]
    whole = await sentences.vector_of_whole("six")
    assert whole is not None
    assert whole.tolist() == [3]
