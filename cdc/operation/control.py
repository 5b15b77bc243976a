"""A process's tie to the control database: takes requests, says what it sees. Never in the way.

While the database is away, or was never set up, sources go on as they are; the tie is tried again
and its state is shown. One connection, opened once the sources have begun.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import orjson

from cdc.integration import IntegrationErrors
from cdc.operation import integration, requests
from cdc.operation.asked import Done
from cdc.operation.running import Control, first_of
from cdc.runtime.errors import LedgerError
from cdc.runtime.health import Condition
from cdc.runtime.postgres import Connect, Connection, close, translated
from cdc.runtime.retry import wait
from schemas.sql import query

OBSERVE_SECONDS = 5.0
LOOK_SECONDS = 15.0
"""So often requests are looked for even when nothing was heard."""


class Log(Protocol):
    """The part of a logger that is needed here."""

    def info(self, event: str, **keys: object) -> object: ...
    def warning(self, event: str, **keys: object) -> object: ...


class Observed(requests.Owner, Protocol):
    """A source of this process. ``owned``: this process runs it now."""

    @property
    def owned(self) -> bool: ...
    @property
    def integration(self) -> IntegrationErrors: ...
    def document(self) -> dict[str, Any]: ...


class _Ended(NamedTuple):
    error: str | None
    result: dict[str, Any] | None


class ControlTie:
    """See the module's docstring."""

    def __init__(
        self,
        connect: Connect,
        sources: Sequence[Observed],
        *,
        control: Control,
        instance: str,
        log: Log,
        backoff: Callable[[int], float],
    ) -> None:
        self._connect = connect
        self._sources = {each.source: each for each in sources}
        self._control = control
        self._instance = instance
        self._log = log
        self._backoff = backoff
        self._running: dict[int, str] = {}
        self._finished: dict[int, _Ended] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``."""
        attempt = 0
        while not stop.is_set():
            try:
                await self._session(stop)
                attempt = 0
            except LedgerError as error:
                attempt += 1
                if self._control.condition.detail != str(error):
                    self._log.warning("control database cannot be used", error=str(error))
                self._control.condition = Condition("degraded", str(error))
                self._control.looked.set()
                await wait(stop, self._backoff(attempt))

    async def _session(self, stop: asyncio.Event) -> None:
        connection = await self._connect()
        try:
            await requests.listen(connection, self._control.wanted)
            self._control.wanted.set()
            looked_at = 0.0
            clock = asyncio.get_running_loop().time
            while not stop.is_set():
                if self._control.wanted.is_set() or clock() - looked_at > LOOK_SECONDS:
                    self._control.wanted.clear()
                    looked_at = clock()
                    await self._take(connection)
                await self._finish(connection)
                await self._observe(connection)
                self._control.condition = Condition("ok")
                self._control.looked.set()
                await first_of(stop, self._control.wanted, seconds=OBSERVE_SECONDS)
            await self._finish(connection)
            await self._forget(connection)
        finally:
            await close(connection)

    async def _take(self, connection: Connection) -> None:
        owned = [name for name, source in self._sources.items() if source.owned]
        for request in await requests.take(connection, owned) if owned else ():
            if request.id in self._running or request.id in self._finished:
                continue
            self._log.info("request taken", request=request.id, source=request.source)
            self._running[request.id] = request.source
            try:
                self._sources[request.source].take(request, self._ender(request.id))
            except LedgerError as error:
                self._ender(request.id)(str(error))

    def _ender(self, request_id: int) -> Done:
        def end(error: str | None = None, result: dict[str, Any] | None = None) -> None:
            self._running.pop(request_id, None)
            self._finished[request_id] = _Ended(error, result)
            self._control.wanted.set()

        return end

    async def _finish(self, connection: Connection) -> None:
        for request_id, (error, result) in list(self._finished.items()):
            state = requests.DONE if error is None else requests.FAILED
            await requests.finish(connection, request_id, state, error, result)
            self._log.info("request ended", request=request_id, outcome=state)
            del self._finished[request_id]
        for request_id, name in list(self._running.items()):
            await requests.note(connection, request_id, self._sources[name].progress())

    async def _observe(self, connection: Connection) -> None:
        for name, source in self._sources.items():
            if not source.owned:
                continue
            state = orjson.dumps(source.document()).decode()
            with translated("observe"):
                await connection.execute(query("observe"), "source", name, self._instance, state)
            await integration.store(connection, name, source.integration)

    async def _forget(self, connection: Connection) -> None:
        """What this process said is no longer so."""
        for name in self._sources:
            with translated("forget observed"):
                await connection.execute(query("forget_observed"), "source", name, self._instance)
