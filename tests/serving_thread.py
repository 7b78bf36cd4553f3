"""Serve an ASGI application from a thread: up when the block is entered, down as soon as it is left."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from tests.waiting import eventually

GRACE_SECONDS = 1.0
"""How long answers under way may take once the block is left."""


class Server(uvicorn.Server):
    """uvicorn's server, but told by events when to end: its own looks ten times a second add up over many tests."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = threading.Event()

    async def main_loop(self) -> None:
        self._loop, self._left = asyncio.get_running_loop(), asyncio.Event()
        await self.on_tick(0)
        self.is_up.set()
        await self._left.wait()

    def leave(self) -> None:
        self._loop.call_soon_threadsafe(self._left.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                while state.connections or state.tasks:
                    await asyncio.sleep(0.002)
        except TimeoutError:
            for task in state.tasks:
                task.cancel()
        await self.lifespan.shutdown()


@contextmanager
def served(app: Any, port: int = 0) -> Iterator[str]:
    """Serve an application for the length of a `with` block, on a port of its own unless told; yield its address."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        server = Server(uvicorn.Config(app, log_level="critical"))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        assert eventually(lambda: server.is_up.wait(0.05) or not thread.is_alive())
        assert thread.is_alive(), "the server did not start"
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.leave()
            thread.join(30)
