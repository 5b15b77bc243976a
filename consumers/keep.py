"""What a consumer does beside its loop: heartbeat, lag, Kafka's own offsets, missed deletes.

Nothing here decides anything the loop relies on: a failure is told and tried again next time.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterable

import orjson

from cdc.runtime.errors import LedgerError
from cdc.runtime.kafka import KafkaConnection
from cdc.runtime.kafka_records import spans
from cdc.runtime.postgres import Connect, Connection, close, translated
from cdc.runtime.retry import wait
from consumers.feed import Feed
from consumers.placing import Placing
from consumers.rows import Place
from consumers.settings import ConsumerSettings
from consumers.state import Progress, State
from schemas.sql import query

AskSpans = Callable[[KafkaConnection, str, Iterable[int]], Awaitable[object]]

CONSUMER = "consumer"
"""The kind of its rows in ``sync.observed``."""
CLIENT_LOST_FACTOR = 3
"""So much longer than it takes to say that Kafka is silent, until the client is blamed for it."""


class Keeper:
    """Runs beside one ``Consumer``. ``control``: the database of what processes say of themselves.

    It keeps one connection to each database, apart from the loop's.
    """

    def __init__(
        self,
        settings: ConsumerSettings,
        placing: Placing,
        *,
        feed: Feed,
        connect: Connect,
        control: Connect,
        progress: Progress,
        ask_spans: AskSpans = spans,
    ) -> None:
        self._settings = settings
        self._limits = settings.limits
        self._placing = placing
        self._feed = feed
        self._progress = progress
        self._ask_spans = ask_spans
        self._target = _Kept(connect)
        self._control = _Kept(control)
        self._instance = settings.instance or f"{socket.gethostname()}:{os.getpid()}"
        self._told: dict[Place, int] = {}
        self._last_error = ""
        self._checked_at = asyncio.get_running_loop().time()

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``; then Kafka is told once more, and this process is no longer seen."""
        try:
            while not await wait(stop, self._limits.keep_seconds):
                await self._turn()
                await self._check()
            await self._tell_kafka()
            await self._tried(self._forget())
        finally:
            try:
                await self._target.close()
            finally:  # whoever ends us may do so again while we close
                await self._control.close()

    async def _turn(self) -> None:
        """Often: what costs next to nothing."""
        await self._feed.measure(self._progress.ends)
        self._progress.measure()
        await self._tell_kafka()
        await self._tried(self._observe())

    async def _check(self) -> None:
        """Seldom: topics made anew under us, open dead letters."""
        now = asyncio.get_running_loop().time()
        if now - self._checked_at < self._limits.check_seconds:
            return
        self._checked_at = now
        await self._tried(self._placing.check_topics())
        await self._tried(self._check_client())
        await self._tried(self._count_dead_letters())
        if self._progress.state is State.IDLE:
            await self._tried(self._feed.look_after())

    async def _tell_kafka(self) -> None:
        offsets = dict(self._progress.offsets)
        if offsets != self._told:
            await self._feed.tell_kafka(offsets)
            self._told = offsets

    async def _forget(self) -> None:
        name = self._settings.target
        connection = await self._control.connection()
        with translated("observe"):
            await connection.execute(query("forget_observed"), CONSUMER, name, self._instance)

    async def _observe(self) -> None:
        state = orjson.dumps(self._progress.document()).decode()
        name = self._settings.target
        connection = await self._control.connection()
        with translated("observe"):
            await connection.execute(query("observe"), CONSUMER, name, self._instance, state)

    async def _count_dead_letters(self) -> None:
        connection = await self._target.connection()
        with translated("count dead letters"):
            rows = await connection.fetch(query("count_open_dead_letters"))
        self._progress.metrics.dead_letters({row["entity"]: row["count"] for row in rows})

    async def _check_client(self) -> None:
        """The feed's client may have lost a Kafka that answers whoever asks for the first time.

        It only ever asks the brokers that it knows: those may all have other addresses now.
        """
        silent = self._feed.silent_seconds(self._progress.clock())
        if (
            self._progress.state is not State.CONSUMING
            and silent > CLIENT_LOST_FACTOR * self._limits.kafka_silent_seconds
        ):
            place = min(self._feed.assigned())
            await self._ask_spans(self._settings.kafka, place.topic, [place.partition])
            self._feed.condemn("Kafka answers, but not this client")

    async def _tried(self, errand: Awaitable[None]) -> None:
        try:
            await errand
        except LedgerError as error:
            if str(error) != self._last_error:  # told once, not at every turn
                self._progress.log.warning("consumer errand failed", error=str(error))
            self._last_error = str(error)


class _Kept:
    """A connection that is kept, and made anew once it is gone."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connection: Connection | None = None

    async def connection(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect()
        return self._connection

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await close(connection)
