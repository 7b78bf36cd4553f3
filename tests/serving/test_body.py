"""A client that hangs up ends what is done for it; being cancelled by anybody else stays that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.requests import ClientDisconnect, Request

from serving.body import while_there


def request_of(receive: Callable[[], Awaitable[dict[str, str]]]) -> Request:
    return Request({"type": "http", "method": "POST", "headers": []}, receive)


async def hung_up() -> dict[str, str]:
    return {"type": "http.disconnect"}


async def stays() -> dict[str, str]:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_client_that_hangs_up_ends_the_block_and_the_task_goes_on() -> None:
    with pytest.raises(ClientDisconnect):
        async with while_there(request_of(hung_up)):
            await asyncio.Event().wait()
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_cancelled_task_is_not_taken_for_a_client_that_is_gone() -> None:
    begun = asyncio.Event()

    async def answered() -> None:
        async with while_there(request_of(stays)):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(answered())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_is_done_in_time_is_given_and_nobody_watches_any_longer() -> None:
    async with while_there(request_of(stays)):
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1
