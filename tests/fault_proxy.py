"""A TCP proxy on loopback that breaks connections on purpose: for Kafka, MongoDB and PostgreSQL.

Everything passes until told otherwise:

- `blackhole()`: connections are accepted and bytes vanish (are kept until `passes()`, as TCP does).
- `await refuse()`: the port is closed, and every connection reset; `await accept()` opens it again.
- `delay(seconds)`: every piece of data is late by that time.
- `hold(match)`: the first request that matches is kept until `release()`, though the client may
  have gone away meanwhile; its answer is thrown away if so.
- `drop_answer(match)`: the first matching request goes through, its answer never comes.
- `cut(match)` / `cut_after(match)`: the connection ends instead of / after the matching request.

A request is one frame of the protocol, if `frames` can tell them apart; else what arrives at once.
"""

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from compose.stack.ports import LOOPBACK

Match = Callable[[bytes], bool]
Frames = Callable[[bytearray], Iterator[bytes]]

READ_BYTES = 256 * 1024
END_SECONDS_MAX = 2.0


def as_it_comes(buffer: bytearray) -> Iterator[bytes]:
    """No framing: whatever is there."""
    if buffer:
        data = bytes(buffer)
        buffer.clear()
        yield data


def kafka_frames(buffer: bytearray) -> Iterator[bytes]:
    """Whole Kafka requests, their four bytes of length included."""
    while len(buffer) >= 4:
        size = 4 + struct.unpack_from(">i", buffer)[0]
        if len(buffer) < size:
            return
        frame = bytes(buffer[:size])
        del buffer[:size]
        yield frame


def kafka_request(api_key: int) -> Match:
    """Matches Kafka requests of one kind, as 26 (EndTxn) or 0 (Produce)."""
    return lambda frame: struct.unpack_from(">h", frame, 4)[0] == api_key


@dataclass
class Fault:
    """One thing that happens to one request: `seen` when it comes, `done` when it was answered
    (a held request whose client still waits: when it was sent on)."""

    match: Match
    kind: str
    seen: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    _go: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """Lets a held request go on its way."""
        self._go.set()


@dataclass(eq=False)
class _Link:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server_reader: asyncio.StreamReader
    server_writer: asyncio.StreamWriter
    muted: bool = False
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    def close(self) -> None:
        for writer in (self.writer, self.server_writer):
            with contextlib.suppress(OSError):
                writer.transport.abort()


class FaultProxy:
    """`async with FaultProxy(target_port) as proxy: … proxy.port …`."""

    def __init__(self, target_port: int, *, port: int = 0, frames: Frames = as_it_comes) -> None:
        self.port = port
        self.accepted = 0
        self._target_port = target_port
        self._frames = frames
        self._faults: list[Fault] = []
        self._links: set[_Link] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._delay_seconds = 0.0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "FaultProxy":
        await self.accept()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._open.set()
        for fault in self._faults:
            fault.release()
        await self.refuse()
        for pump in self._pumps:
            pump.cancel()
        if self._handlers:  # each ends when its pumps have
            await asyncio.wait(self._handlers, timeout=END_SECONDS_MAX)

    def passes(self) -> None:
        """Ends blackhole and delay; what was kept back goes on."""
        self._delay_seconds = 0.0
        self._open.set()

    def blackhole(self) -> None:
        self._open.clear()

    def delay(self, seconds: float) -> None:
        self._delay_seconds = seconds

    async def accept(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, LOOPBACK, self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.reset()

    def reset(self) -> None:
        """Ends every connection that stands now."""
        for link in list(self._links):
            link.close()

    def hold(self, match: Match) -> Fault:
        return self._plan(match, "hold")

    def drop_answer(self, match: Match) -> Fault:
        return self._plan(match, "drop_answer")

    def cut(self, match: Match) -> Fault:
        return self._plan(match, "cut")

    def cut_after(self, match: Match) -> Fault:
        return self._plan(match, "cut_after")

    def _plan(self, match: Match, kind: str) -> Fault:
        fault = Fault(match, kind)
        self._faults.append(fault)
        return fault

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)
        self.accepted += 1
        await self._open.wait()
        try:
            server_side = await asyncio.open_connection(LOOPBACK, self._target_port)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(reader, writer, *server_side)
        self._links.add(link)
        pumps = {
            asyncio.create_task(self._pump(self._upwards, link)),
            asyncio.create_task(self._pump(self._downwards, link)),
        }
        self._pumps |= pumps
        await asyncio.wait(pumps)
        self._pumps -= pumps
        link.close()
        self._links.discard(link)

    async def _pump(self, way: Callable[[_Link], Awaitable[None]], link: _Link) -> None:
        with contextlib.suppress(OSError):
            await way(link)
        if way == self._upwards:
            link.server_writer.transport.abort()
        else:
            link.writer.transport.abort()

    async def _upwards(self, link: _Link) -> None:
        buffer = bytearray()
        while data := await link.reader.read(READ_BYTES):
            buffer += data
            for frame in self._frames(buffer):
                await self._slowly()
                if not await self._forwarded(link, frame):
                    return

    async def _downwards(self, link: _Link) -> None:
        while data := await link.server_reader.read(READ_BYTES):
            await self._slowly()
            link.answered.set()
            if not link.muted:
                link.writer.write(data)
                await link.writer.drain()

    async def _slowly(self) -> None:
        if self._delay_seconds:
            await asyncio.sleep(self._delay_seconds)
        await self._open.wait()

    async def _forwarded(self, link: _Link, frame: bytes) -> bool:
        """Sends a request on, with what is planned for it; False ends the connection."""
        fault = next((each for each in self._faults if each.match(frame)), None)
        if fault is None:
            link.server_writer.write(frame)
            await link.server_writer.drain()
            return True
        self._faults.remove(fault)
        fault.seen.set()
        if fault.kind == "cut":
            return False
        if fault.kind == "hold":
            await fault._go.wait()
        gone = link.reader.at_eof()
        link.muted = gone or fault.kind in ("drop_answer", "cut_after")
        link.answered.clear()
        link.server_writer.write(frame)
        await link.server_writer.drain()
        if gone or fault.kind != "hold":
            await link.answered.wait()
        fault.done.set()
        return fault.kind != "cut_after"
