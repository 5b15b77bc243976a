"""A COPY that stands still: its server is killed or frozen, or the task cancelled, in the middle.

asyncpg waits without limit for room to write when it copies from a stream: so a consumer hung for
ever, and said nothing, when its database went while more was to be sent than the network takes.
"""

import asyncio
import contextlib
import struct
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from cdc.runtime import postgres
from cdc.runtime.errors import Unavailable
from cdc.runtime.postgres import Connection, close
from consumers.apply import Outcome, Writer
from consumers.batch import Batch, Move
from consumers.isolate import Circuit
from consumers.rows import Fold
from tests.unit.test_apply import AFTER, PLACE, TRANSACTIONS, row

ROWS, ROW_BYTES = 300, 5_000
"""1.5 MB: more than a socket and asyncpg hold between them."""
FULL_BYTES = 64 * 1024
"""With more than this unsent asyncpg may not write on."""
TURNS = 50
"""Of the loop, in which something would move if it could."""
LIMIT_SECONDS = 1.0
CLOSE_SECONDS = 0.2
SOON_SECONDS = 2.0
HANGING_SECONDS = 10.0
TLS, CANCEL = 80877103, 80877102


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


class Server:
    """Lets anyone in, says yes to every statement, and reads no more where a COPY begins."""

    def __init__(self) -> None:
        self._killed = asyncio.Event()
        self._serving: set[asyncio.Task[Any]] = set()

    def kill(self) -> None:
        self._killed.set()

    async def ended(self) -> None:
        await asyncio.gather(*self._serving)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.current_task())  # type: ignore[arg-type]
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await self._serve(reader, writer)
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (code,) = struct.unpack_from("!i", await _body(reader))
        if code == CANCEL:
            return  # nobody is there who would hear of it
        if code == TLS:
            writer.write(b"N")
            await _body(reader)
        told = message(b"S", b"server_version\x0016.1\0") + message(b"K", struct.pack("!ii", 1, 2))
        writer.write(message(b"R", struct.pack("!i", 0)) + told + message(b"Z", b"I"))
        while True:
            await reader.readexactly(1)
            word = (await _body(reader)).rstrip(b"\0").split()[0]
            if word == b"COPY":
                writer.write(message(b"G", struct.pack("!bh", 0, 0)))
                await self._killed.wait()
                return
            writer.write(message(b"C", word + b"\0") + message(b"Z", b"T"))


async def _body(reader: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack("!i", await reader.readexactly(4))
    return await reader.readexactly(size - 4)


class Answering:
    """What has values is answered here, so that the server need only know plain statements."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute(self, statement: str, *values: object, **options: Any) -> str:
        if values:
            return "UPDATE 1"
        return await self._connection.execute(statement, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[Connection]:
    with tempfile.TemporaryDirectory() as folder:
        listening = await asyncio.start_unix_server(server.serve, f"{folder}/.s.PGSQL.5432")
        dsn = f"postgresql://u:p@/d?host={folder}"
        connection = await asyncpg.connect(dsn, command_timeout=LIMIT_SECONDS)
        try:
            yield connection
        finally:
            await close(connection)
            server.kill()
            listening.close()
            await server.ended()


async def full(connection: Any) -> None:
    """Until asyncpg may not write on, and the network takes no more of what it wrote."""
    unsent, before = 0, -1
    while unsent <= FULL_BYTES or unsent != before:
        for _ in range(TURNS):
            await asyncio.sleep(0)  # nothing tells of it
        unsent, before = connection._transport.get_write_buffer_size(), unsent


@asynccontextmanager
async def standing(server: Server) -> AsyncIterator[asyncio.Task[None]]:
    """A writer of a batch, in its COPY, that can send no more; it ends soon and for good."""
    fold = Fold()
    for number in range(ROWS):
        fold.add(row(1, AFTER | {"description": "x" * ROW_BYTES}, row_id=f"t{number}"))
    batch = Batch(0, {PLACE: Move("a", 0, ROWS)}, {TRANSACTIONS: fold})
    async with connected(server) as connection, asyncio.timeout(HANGING_SECONDS):
        writer = Writer(Answering(connection), "group", Circuit())  # type: ignore[arg-type]
        applying = asyncio.create_task(writer.apply(batch, Outcome()))
        await full(connection)
        started = time.monotonic()
        try:
            yield applying
        finally:
            applying.cancel()
            await asyncio.wait({applying})
        assert time.monotonic() - started < SOON_SECONDS
        assert connection.is_closed()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "CLOSE_SECONDS_MAX", CLOSE_SECONDS)


async def test_a_copy_ends_with_its_server() -> None:
    server = Server()
    async with standing(server) as applying:
        server.kill()
        with pytest.raises(Unavailable):
            await asyncio.shield(applying)


async def test_a_copy_to_a_frozen_server_ends_at_the_limit_of_every_statement() -> None:
    async with standing(Server()) as applying:
        with pytest.raises(Unavailable):
            await asyncio.shield(applying)


async def test_a_copy_is_cancelled() -> None:
    async with standing(Server()) as applying:
        applying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await applying
