"""TLS in front of a PostgreSQL whose build has none: its own way into TLS, then its own protocol.

The server behind sees who came how by the address that a connection comes from (`pg_hba.conf`):
in the clear, by TLS, or by TLS with a certificate that we signed.
"""

import asyncio
import contextlib
import ssl
import struct

from compose.stack.ports import LOOPBACK
from tests.certificates import Authority

CLEAR, BY_TLS, WITH_CERTIFICATE = LOOPBACK, "127.0.0.2", "127.0.0.3"
SSL_REQUEST = struct.pack(">ii", 8, 80877103)
READ_BYTES = 65536


class TlsFront:
    """`async with TlsFront(port, authority) as front: … front.port …`."""

    def __init__(self, target_port: int, authority: Authority) -> None:
        self.port = 0
        self._target_port = target_port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own = authority.certificate("postgres")
        self._context.load_cert_chain(own.certfile, own.keyfile)
        self._context.load_verify_locations(authority.cafile)
        self._context.verify_mode = ssl.CERT_OPTIONAL
        self._visits: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "TlsFront":
        self._server = await asyncio.start_server(self._visited, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._server.close()
        for visit in self._visits:
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)

    def _visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = asyncio.create_task(self._serve(reader, writer), name="visit")
        self._visits.add(visit)
        visit.add_done_callback(self._visits.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            first, came_from = await reader.readexactly(len(SSL_REQUEST)), CLEAR
            if first == SSL_REQUEST:
                writer.write(b"S")
                await writer.start_tls(self._context)
                certificate = writer.get_extra_info("peercert")
                first, came_from = b"", WITH_CERTIFICATE if certificate else BY_TLS
            server_reader, server_writer = await asyncio.open_connection(
                LOOPBACK, self._target_port, local_addr=(came_from, 0)
            )
            server_writer.write(first)
            await asyncio.gather(_pump(reader, server_writer), _pump(server_reader, writer))
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
