"""The end of a MongoDB source, above all of one whose server is gone.

It is closed at the first error of an outage, in the loop that keeps every consumer group alive.
"""

import asyncio
import contextlib
import gc
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pymongo.client_session_shared import _ServerSession
from pymongo.errors import OperationFailure

from cdc.sources.mongo import CONNECT_SECONDS, MongoSource, connect

TICK_SECONDS = 0.02
GAP_SECONDS_MAX = 2.0
"""Far above what a busy machine needs for a tick, far below the driver's wait for a server."""


@pytest.fixture
def dead_uri() -> Iterator[str]:
    """Of a port on which nobody listens, kept so that nobody will."""
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        yield f"mongodb://127.0.0.1:{kept.getsockname()[1]}/books"


def source_with(client: Any, database: Any = None) -> MongoSource:
    source = MongoSource("mongo", "mongodb://127.0.0.1/books", ["payments"])
    source._client, source._database = client, database
    return source


async def longest_gap_seconds(ended: asyncio.Event) -> float:
    """The longest time for which the loop did nothing, until ``ended``."""
    now = asyncio.get_running_loop().time
    last, longest = now(), 0.0
    while not ended.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), TICK_SECONDS)
        last, longest = now(), max(longest, now() - last)
    return longest


async def test_a_close_without_a_server_leaves_the_loop_alone(dead_uri: str) -> None:
    """The driver looks for a server, to end the sessions that it keeps."""
    client = connect(dead_uri)
    client.delegate._topology._session_pool.appendleft(_ServerSession(0))
    source, ended = source_with(client), asyncio.Event()
    ticking = asyncio.create_task(longest_gap_seconds(ended))
    await asyncio.sleep(0)
    started = asyncio.get_running_loop().time()
    await source.close()
    for thread in threading.enumerate():
        if thread.name.startswith("mongo-close"):
            await asyncio.to_thread(thread.join)  # as the process does at its end
    taken_seconds = asyncio.get_running_loop().time() - started
    ended.set()
    assert await ticking < GAP_SECONDS_MAX < CONNECT_SECONDS / 2
    assert taken_seconds < CONNECT_SECONDS / 2, "nor is the process held for so long"


class Client:
    """A driver that closes when it is let."""

    def __init__(self) -> None:
        self.asked, self.may, self.closed = threading.Event(), threading.Event(), threading.Event()

    def close(self) -> None:
        self.asked.set()
        assert self.may.wait(10)
        self.closed.set()


async def set_in(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 10)


async def test_who_is_cancelled_at_a_close_does_not_wait_for_the_server() -> None:
    client = Client()
    task = asyncio.create_task(source_with(client).close())
    await set_in(client.asked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await task
    assert not client.closed.is_set()
    client.may.set()
    await set_in(client.closed)


async def test_a_close_does_not_wait_for_the_threads_that_all_share() -> None:
    """Where names are not resolved, look-ups hold them all; the stop stood behind these."""
    held, client = threading.Event(), Client()
    client.may.set()
    shared = ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(shared)
    look_up = shared.submit(held.wait, 10)
    try:
        async with asyncio.timeout(5):
            await source_with(client).close()
        assert client.closed.is_set()
        assert not look_up.done()
    finally:
        held.set()


class Stuck(Client):
    """A driver that stays in its close for longer than it was given, and fails in the end."""

    thread: threading.Thread

    def close(self) -> None:
        self.thread = threading.current_thread()
        super().close()
        raise OSError("too late")


async def test_a_driver_that_does_not_end_is_left_to_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cdc.sources.mongo.CLOSE_SECONDS", 0.01)
    told = told_of_the_loop()
    client = Stuck()
    async with asyncio.timeout(5):
        await source_with(client).close()
    assert not client.closed.is_set()
    await set_in(client.asked)
    client.may.set()
    await asyncio.to_thread(client.thread.join, 10)
    await all_done()
    assert client.closed.is_set()
    assert told == []


async def test_an_error_of_the_driver_is_the_callers() -> None:
    client = Stuck()
    client.may.set()
    with pytest.raises(OSError, match="too late"):
        await source_with(client).close()


def told_of_the_loop() -> list[dict[str, Any]]:
    """What the running loop tells of errors that nobody met."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    return told


async def all_done() -> None:
    """What is ready has run, and what nobody holds is gone."""
    for _ in range(10):
        await asyncio.sleep(0)
    gc.collect()


class Silent:
    """A database that never answers."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def command(self, *_args: Any, **_options: Any) -> None:
        self.asked.set()
        await asyncio.Event().wait()


async def test_who_is_cancelled_before_leaves_no_connection_behind() -> None:
    client, database = Client(), Silent()
    client.may.set()
    source = source_with(client, database)
    source._cursor_id = 7
    task = asyncio.create_task(source.close())
    await database.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.closed.is_set()
    await source.close()  # again: nothing is left to end


class Slow(Silent):
    """A database where an interrupted request takes its time to end."""

    def __init__(self) -> None:
        super().__init__()
        self.interrupted = asyncio.Event()

    async def command(self, command: dict[str, Any], **_options: Any) -> None:
        if "getMore" in command:
            await self.interrupted.wait()
            raise OperationFailure("operation was interrupted", 237)


def waiting(client: Client, database: Slow) -> MongoSource:
    """With a cursor, and a request for its next changes under way."""
    client.may.set()
    source = source_with(client, database)
    source._cursor_id = 7
    source._send_ahead(5.0)
    return source


async def test_a_request_that_ends_after_the_close_is_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An idle server takes some seconds: each stop, and each pause, left a stack in the log."""
    monkeypatch.setattr("cdc.sources.mongo.CLOSE_SECONDS", 0.01)
    told = told_of_the_loop()
    client, database = Client(), Slow()
    source = waiting(client, database)
    await source.close()
    database.interrupted.set()
    await all_done()
    assert told == []


class SlowAndSilent(Slow):
    """Nor does it answer to the end of the cursor."""

    async def command(self, command: dict[str, Any], **options: Any) -> None:
        await super().command(command, **options)
        self.asked.set()
        await asyncio.Event().wait()


async def test_a_request_that_ends_after_a_cancelled_close_is_not_told() -> None:
    told = told_of_the_loop()
    client, database = Client(), SlowAndSilent()
    source = waiting(client, database)
    task = asyncio.create_task(source.close())
    await database.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    database.interrupted.set()
    await all_done()
    assert told == []
