"""One HTTP/1.1 connection: requests in, answers out, whole or broken on purpose.

h11 keeps the protocol; the transport stays ours, because a real server never offers what the
faults need: half a body, a reset, silence.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

READ_BYTES_MAX = 64 * 1024
REQUEST_BYTES_MAX = 64 * 1024 * 1024
PIECES_PER_SECOND = 20


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked. Header names are lower-case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What it gets; JSON unless the headers say otherwise."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Connection:
    """One client's connection, request by request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = h11.Connection(h11.SERVER)

    async def request(self) -> Request | None:
        """The next request; None once the client is done."""
        if self._protocol.our_state is h11.DONE and self._protocol.their_state is h11.DONE:
            self._protocol.start_next_cycle()
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = await self._event()
            if isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > REQUEST_BYTES_MAX:
                    raise h11.RemoteProtocolError("request too large")
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return _request(head, bytes(body))
            else:
                return None

    async def _event(self) -> object:
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            if self._protocol.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                self._write(self._protocol.send(go_on))
            self._protocol.receive_data(await self._reader.read(READ_BYTES_MAX))
        return event

    async def send(self, answer: Answer, *, keep_bytes: int | None = None) -> None:
        """The whole answer, or its head and ``keep_bytes`` of the body."""
        self._head(answer, [("content-length", str(len(answer.body)))])
        if keep_bytes is None:
            self._write(self._protocol.send(h11.Data(data=answer.body)))
            self._write(self._protocol.send(h11.EndOfMessage()))
        else:
            self._write(answer.body[:keep_bytes])
        await self._writer.drain()

    async def send_slowly(self, answer: Answer, bytes_per_second: int) -> None:
        """The answer in small pieces over time."""
        self._head(answer, [("content-length", str(len(answer.body)))])
        piece = max(1, bytes_per_second // PIECES_PER_SECOND)
        for start in range(0, len(answer.body), piece):
            await asyncio.sleep(1 / PIECES_PER_SECOND)
            self._write(self._protocol.send(h11.Data(data=answer.body[start : start + piece])))
            await self._writer.drain()
        self._write(self._protocol.send(h11.EndOfMessage()))

    async def send_endlessly(self, answer: Answer) -> None:
        """The answer and blanks behind it, until the client leaves."""
        self._head(answer, [("transfer-encoding", "chunked")])
        self._write(self._protocol.send(h11.Data(data=answer.body)))
        blanks = self._protocol.send(h11.Data(data=b" " * READ_BYTES_MAX))
        while not self._writer.is_closing():
            self._write(blanks)
            await self._writer.drain()

    async def silence(self, seconds: float) -> None:
        """Nothing, until the time is over or the client leaves."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._reader.read(1)

    def reset(self) -> None:
        """End with a reset instead of a goodbye."""
        raw = self._writer.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    @property
    def ends(self) -> bool:
        """True when no further request can come over this connection."""
        over = self._protocol.our_state in (h11.MUST_CLOSE, h11.CLOSED, h11.ERROR)
        return over or self._writer.is_closing()

    async def close(self) -> None:
        """Let go of the transport."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def _head(self, answer: Answer, framing: list[tuple[str, str]]) -> None:
        headers = {"content-type": "application/json; charset=utf-8", **answer.headers}
        self._write(
            self._protocol.send(
                h11.Response(status_code=answer.status, headers=[*headers.items(), *framing])
            )
        )

    def _write(self, data: bytes | None) -> None:
        if data:
            self._writer.write(data)


def _request(head: h11.Request, body: bytes) -> Request:
    target = urlsplit(head.target.decode())
    return Request(
        method=head.method.decode(),
        path=unquote(target.path),
        query=dict(parse_qsl(target.query, keep_blank_values=True)),
        headers={name.decode(): value.decode("latin-1") for name, value in head.headers},
        body=body,
    )
