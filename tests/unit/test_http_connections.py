"""No connection outlives its client, wherever a request or the closing itself is cancelled."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cdc.runtime.http import UNTYPED, HttpClient
from cdc.runtime.http_connections import transport

IDLE = 4
STEPS = 12
"""More than a request or a closing takes on the loopback until it waits for the server."""
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Server:
    """Answers, and keeps connections until told to end them."""

    def __init__(self) -> None:
        self.open: set[asyncio.StreamWriter] = set()
        self.asked = 0
        self.ended = asyncio.Event()
        self._all_asked = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.asked += 1
                if self.asked == IDLE:
                    self._all_asked.set()
                await self._all_asked.wait()
                writer.write(ANSWER)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.open.discard(writer)
            writer.close()
        if not self.open:
            self.ended.set()

    def says_goodbye(self) -> None:
        """As servers do that have kept an idle connection long enough."""
        for writer in self.open:
            writer.write_eof()


@asynccontextmanager
async def idle() -> AsyncIterator[tuple[Server, HttpClient]]:
    """A client with idle connections; when it is left, none of them may stay."""
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    client = HttpClient(f"http://127.0.0.1:{port}", now=lambda: 0.0)
    try:
        await asyncio.gather(*(client.get("/thing", UNTYPED) for _ in range(IDLE)))
        assert len(server.open) == IDLE
        yield server, client
        await client.close()
        await nothing_is_open(server, port)
    finally:
        listener.close()


async def nothing_is_open(server: Server, port: int) -> None:
    """Soon, of all that was connected before."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await reader.readexactly(len(ANSWER))  # whoever came before this one has been let in
        server.ended.clear()
        writer.close()
        await server.ended.wait()


async def cancelled(work: Coroutine[Any, Any, Any], steps: int) -> None:
    task = asyncio.create_task(work)
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})


@pytest.mark.parametrize("steps", range(STEPS))
async def test_a_request_cancelled_while_idle_connections_are_let_go(steps: int) -> None:
    async with idle() as (server, client):
        server.says_goodbye()
        await cancelled(client.get("/thing", UNTYPED), steps)


@pytest.mark.parametrize("steps", range(STEPS))
async def test_a_closing_that_is_cancelled(steps: int) -> None:
    async with idle() as (_, client):
        await cancelled(client.close(), steps)


class Connection:
    """One of the pool's, that ends in its own way."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error, self.closed = error, False

    async def aclose(self) -> None:
        self.closed = True
        if self.error is not None:
            raise self.error


FIRST, SECOND, CANCELLED = OSError("first"), RuntimeError("second"), asyncio.CancelledError()


@pytest.mark.parametrize(
    ("errors", "raised"),
    [
        ((None, None), None),
        ((FIRST, None, SECOND, None), FIRST),
        ((FIRST, CANCELLED, None), CANCELLED),
        ((CANCELLED, FIRST, None), CANCELLED),
    ],
)
async def test_each_is_closed_whatever_happens_at_another(
    errors: tuple[BaseException | None, ...], raised: BaseException | None
) -> None:
    made = transport(ssl.create_default_context())
    connections: list[Any] = [Connection(error) for error in errors]
    made._pool._connections = connections  # type: ignore[attr-defined]
    told: BaseException | None = None
    try:
        await made.aclose()
    except (OSError, RuntimeError, asyncio.CancelledError) as error:
        told = error
    assert told is raised
    assert all(connection.closed for connection in connections)
