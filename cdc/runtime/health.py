"""``/livez``, ``/readyz`` and ``/metrics`` on every process, on the smallest server that can.

*Live*: the event loop turns and every loop made progress of late; no server is asked, or an outage
would restart the whole fleet. *Ready*: what each dependency was last seen to be.
"""

import asyncio
import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from cdc.runtime.errors import Unfit

REQUEST_SECONDS_MAX = 5.0
HEADER_BYTES_MAX = 8 * 1024
CONNECTIONS_MAX = 64
STALE_SECONDS = 120.0
"""A loop that has not turned for so long is dead, whatever it waits for."""
_JSON = "application/json"


@dataclass(slots=True)
class Pulse:
    """When each loop last turned. ``clock``: monotonic seconds."""

    clock: Callable[[], float]
    turns: dict[str, float] = field(default_factory=dict)

    def beat(self, loop: str) -> None:
        self.turns[loop] = self.clock()

    def forget(self, loop: str) -> None:
        self.turns.pop(loop, None)

    def ages_seconds(self) -> dict[str, float]:
        now = self.clock()
        return {loop: round(now - turned, 3) for loop, turned in self.turns.items()}


@dataclass(frozen=True, slots=True)
class Condition:
    """What is known of one dependency: ``ok``, ``degraded`` (serving all the same) or ``down``."""

    state: str
    detail: str = ""

    @property
    def serving(self) -> bool:
        return self.state != "down"


Conditions = Callable[[], Mapping[str, Condition]]


class HealthServer:
    """Answers on ``host:port``. Safe to stop before start and twice."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        pulse: Pulse,
        conditions: Conditions,
        metrics: Callable[[], bytes],
        metrics_type: str,
        setting: str,
    ) -> None:
        """``setting``: the key to change where the port is taken."""
        self._host = host
        self._port = port
        self._pulse = pulse
        self._conditions = conditions
        self._metrics = metrics
        self._metrics_type = metrics_type
        self._setting = setting
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        """Where it listens; with port 0, the one that was given."""
        if self._server is None:
            return f"{self._host}:{self._port}"
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    async def start(self) -> None:
        """Raises ``Unfit`` where the address cannot be had."""
        if self._server is not None:
            return
        try:
            self._server = await asyncio.start_server(
                self._serve, self._host, self._port, limit=HEADER_BYTES_MAX
            )
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            raise Unfit(
                "the port is taken" if taken else f"cannot listen: {error.strerror or error}",
                operation="listen",
                subject=f"{self._host}:{self._port}",
                hint=f"end what holds it, or set another {self._setting} (:0 takes a free port)",
            ) from error

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
            for writer in self._open:
                writer.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if len(self._open) <= CONNECTIONS_MAX:
                async with asyncio.timeout(REQUEST_SECONDS_MAX):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._answer(head))
                    await writer.drain()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # whoever asked has gone, or asks nonsense
        finally:
            self._open.discard(writer)
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0].decode("latin-1")
        if method not in (b"GET", b"HEAD"):
            status, kind, body = 405, _JSON, _json({"error": "only GET is answered"})
        elif path == "/livez":
            status, kind, body = self._live()
        elif path == "/readyz":
            status, kind, body = self._ready()
        elif path == "/metrics":
            status, kind, body = 200, self._metrics_type, self._metrics()
        else:
            known = ["/livez", "/readyz", "/metrics"]
            status, kind, body = 404, _JSON, _json({"error": "not found", "known": known})
        lines = (
            f"HTTP/1.1 {status} {_REASONS[status]}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Connection: close",
        )
        text = "\r\n".join(lines).encode() + b"\r\n\r\n"
        return text if method == b"HEAD" else text + body

    def _live(self) -> tuple[int, str, bytes]:
        ages = self._pulse.ages_seconds()
        stale = sorted(loop for loop, age in ages.items() if age > STALE_SECONDS)
        body = _json({"live": not stale, "stale": stale, "loops": ages})
        return (503 if stale else 200), _JSON, body

    def _ready(self) -> tuple[int, str, bytes]:
        found = self._conditions()
        ready = all(each.serving for each in found.values())
        named = {name: {"state": c.state, "detail": c.detail} for name, c in found.items()}
        return (200 if ready else 503), _JSON, _json({"ready": ready, "dependencies": named})


_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


def _json(value: Any) -> bytes:
    return orjson.dumps(value)
