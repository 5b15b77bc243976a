"""Deletes that compaction forgot while this target was away for longer than they are kept.

When a partition was silent for too long, its offset row remembers up to where (``gap_end``). Once
everything below that is applied, the partition is scanned from its start: what lives in the table,
came from below that offset and has no living record on the topic any more was deleted meanwhile,
and is marked so. The row keeps its version: only a newer event may revive it.

Only a partition whose log still begins at its start can tell what is gone; where the beginning
was cut off, it is told and left.
"""

import asyncio
from collections.abc import Callable, Sequence

from cdc.runtime.errors import LedgerError
from cdc.runtime.kafka_records import Record, records, spans
from cdc.runtime.postgres import Connect, Connection, row_count, session, transaction, translated
from cdc.runtime.retry import wait
from consumers.apply import turn_of
from consumers.decode import Unreadable, read_key, read_op
from consumers.projections import PROJECTIONS
from consumers.rows import Key, Place
from consumers.settings import ConsumerSettings
from consumers.state import Log
from consumers.statements import mark_missing
from schemas.sql import query
from schemas.topics import entity_topic_name

MARK_SECONDS_MAX = 600.0
"""For going through a whole table."""


class MissedDeletes:
    """Runs beside the loop; ``assigned`` tells the partitions this process has."""

    def __init__(
        self,
        settings: ConsumerSettings,
        *,
        connect: Connect,
        assigned: Callable[[], set[Place]],
        log: Log,
    ) -> None:
        self._settings = settings
        self._connect = connect
        self._assigned = assigned
        self._log = log
        self._projections = {
            entity_topic_name(settings.topic_prefix, name): PROJECTIONS[name]
            for name in settings.applied
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``; a failure is told and tried again."""
        while not await wait(stop, self._settings.limits.check_seconds):
            try:
                async with session(self._connect) as connection:
                    await self.look(connection, stop)
            except LedgerError as error:
                self._log.warning("consumer errand failed", error=str(error))

    async def look(self, connection: Connection, stop: asyncio.Event) -> None:
        """Mends every partition of ours that is read up to the end of its gap."""
        with translated("find gaps"):
            rows = await connection.fetch(query("open_gaps"), self._settings.group)
        for row in rows:
            place = Place(row["topic"], row["partition"])
            if place in self._assigned() and not stop.is_set():
                await self._mend(connection, place, row["topic_id"], row["gap_end"], stop)

    async def _mend(
        self, connection: Connection, place: Place, topic_id: str, end: int, stop: asyncio.Event
    ) -> None:
        known = await spans(self._settings.kafka, place.topic, [place.partition])
        start, _ = known[place.partition]
        projection = self._projections.get(place.topic)
        if projection is not None and start > 0:
            self._log.error(
                "deletes may be missing: the log's beginning is gone",
                topic=place.topic,
                partition=place.partition,
                hint="`cdc resync` the sources of this topic",
            )
            projection = None
        if projection is not None and not await self._collect(connection, place, end, stop):
            return
        deleted = 0
        turn = None if projection is None else turn_of(projection)
        async with transaction(connection, "mark missed deletes", turn=turn):
            await connection.execute(query("end_gap"), self._settings.group, *place, topic_id, end)
            if projection is not None:
                await connection.execute("SET LOCAL statement_timeout = 0")
                statement = mark_missing(projection)
                tag = await connection.execute(statement, *place, end, timeout=MARK_SECONDS_MAX)
                deleted = row_count(tag)
        self._log.info(
            "missed deletes are marked", topic=place.topic, partition=place.partition, count=deleted
        )

    async def _collect(
        self, connection: Connection, place: Place, end: int, stop: asyncio.Event
    ) -> bool:
        """Fills a temporary table with the keys that live on the topic; False: told to stop."""
        with translated("collect living keys"):
            await connection.execute(query("make_living"))
            async for batch in records(self._settings.kafka, *place, 0, end):
                if stop.is_set():
                    return False
                lives = _lives(batch)
                for name, wanted in (("add_living", True), ("drop_living", False)):
                    keys = [key for key, living in lives.items() if living is wanted]
                    if keys:
                        await connection.execute(query(name), *map(list, zip(*keys, strict=True)))
            await connection.execute("ANALYZE pg_temp.living")
        return True


def _lives(batch: Sequence[Record]) -> dict[Key, bool]:
    """Whether the last record of each key tells of something that lives; in doubt it does."""
    found: dict[Key, bool] = {}
    for record in batch:
        try:
            key = read_key(record.key)
        except Unreadable:
            continue  # no row can have come of it
        found[key] = record.value is not None and read_op(record.value) != "d"
    return found
