"""A source followed by the real pipeline into topics in memory, on the simulator's own time."""

import asyncio
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest

from cdc.cursors import Cursor, decode_cursor
from cdc.integration import IntegrationErrors
from cdc.mapping.api_normaliser import ApiNormaliser
from cdc.mapping.api_tables import Table
from cdc.pipeline import Pipeline
from cdc.progress import Progress
from cdc.report import Report
from cdc.runtime import http
from cdc.sources.protocol import Source
from compose.simulators.clock import Clock
from schemas.envelope import decode_key
from schemas.topics import dead_letters_topic
from tests.fakes import PARTITIONS, FakeBroker

PREFIX = "p"
STEPS_MAX = 60_000
SECONDS_MAX = 60.0
# Every life of a daemon makes one, and each would read all authorities of the machine again.
http._tls = functools.cache(http._tls)


class FreeQuota:
    """A quota without an end, that counts."""

    def __init__(self) -> None:
        self.taken = 0
        self.left = 180

    async def take(self) -> None:
        self.taken += 1


class Heard:
    """A log and metrics that keep what they are told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **keys: object) -> None:
        self.lines.append((event, keys))

    warning = error = info

    def events(self, entity: str, op: str, count: int) -> None: ...
    def transaction(self, outcome: str) -> None: ...
    def dead_letters(self, entity: str, count: int) -> None: ...


class Followed:
    """One life of a daemon after another, over the same topics."""

    def __init__(
        self,
        make_source: Callable[[], Source],
        tables: Sequence[Table],
        clock: Clock,
        *,
        fault: Any = None,
        integration: IntegrationErrors | None = None,
    ) -> None:
        """``make_source``: a new one for every life."""
        self.clock = clock
        self.heard = Heard()
        self.integration = integration or IntegrationErrors()
        self.waits: list[float] = []
        """What servers asked for, at each new try."""
        self._make_source = make_source
        self._tables = tables
        self.entities = tuple(table.entity.name for table in tables)
        topics = [f"{PREFIX}.{name}" for name in self.entities]
        self.letters = dead_letters_topic(PREFIX).name
        self.broker = FakeBroker([*topics, self.letters], fault)
        self.source = make_source()
        self.line = self._pipeline()

    def now(self) -> float:
        return self.clock.now().timestamp()

    async def pause(self, seconds: float) -> None:
        """Rests in the simulator's time."""
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    def _pipeline(self) -> Pipeline:
        source = self.source
        normaliser = ApiNormaliser(
            self._tables,
            prefix=PREFIX,
            book="book",
            source="fake",
            connector=source.connector,
            streams=lambda: getattr(source, "stream_names", ()),
            partitions=lambda entity: PARTITIONS,
            clock_ms=lambda: int(self.now() * 1000),
        )
        return Pipeline(
            book="book",
            cursors_topic=f"{PREFIX}.cursors",
            source=source,
            normaliser=normaliser,
            broker=self.broker,
            topics={f"{PREFIX}.{name}": name for name in self.entities},
            progress=Progress("fake", self.now),
            report=Report(self.heard, self.heard, self.integration),
            backoff=self._backoff,
            idle_seconds=1.0,
        )

    def _backoff(self, attempt: int, least: float) -> float:
        self.waits.append(least)
        self.clock.advance(max(least, min(2.0**attempt, 60.0)))
        return 0.0

    async def run_until(self, condition: Callable[[], bool]) -> None:
        """Runs until the condition holds; what the pipeline raises is raised."""
        stop = asyncio.Event()
        task = asyncio.create_task(self.line.run(stop))
        try:
            async with asyncio.timeout(SECONDS_MAX):
                for _ in range(STEPS_MAX):
                    await asyncio.sleep(0.001)
                    if task.done() or condition():
                        break
                else:
                    pytest.fail(f"never: {self.line.progress.state} {self.line.progress.reason}")
        finally:
            stop.set()
            await task

    async def killed_after(self, steps: int) -> None:
        """A life that is cut off after some steps, without a word."""
        stop = asyncio.Event()
        task = asyncio.create_task(self.line.run(stop))
        for _ in range(steps):
            await asyncio.sleep(0)
            if task.done():
                break
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def restart(self) -> None:
        """The next life: nothing is left but the topics."""
        await self.source.close()
        self.source = self._make_source()
        self.line = self._pipeline()

    def cursors(self) -> dict[str, Cursor]:
        """The newest cursor of every stream."""
        found = [decode_cursor(value) for value in self.broker.stored.values() if value]
        return {cursor.stream: cursor for cursor in found}

    async def settled(self, streams: int = 1) -> None:
        """Until all of now is published: every cursor is from later, with no whole read left."""
        self.clock.advance(1.0)
        now_ms = int(self.now() * 1000)

        def condition() -> bool:
            cursors = self.cursors().values()
            return len(cursors) == streams and all(
                cursor.position >= now_ms and all(read.done for read in cursor.reads.values())
                for cursor in cursors
            )

        await self.run_until(condition)

    def rows(self, entity: str) -> dict[str, dict[str, Any]]:
        return self.broker.rows(f"{PREFIX}.{entity}")

    def events(self) -> int:
        return sum(len(records) for records in self.broker.log.values())

    def dead_letters(self) -> list[dict[str, Any]]:
        records = self.broker.log[self.letters, 0]
        return [json.loads(event.value or b"") for event in records]

    def check_order(self) -> None:
        """Versions of a key strictly grow; no event stands twice."""
        ids: set[bytes] = set()
        for (topic, _), records in self.broker.log.items():
            if topic == self.letters:
                continue
            newest: dict[str, str] = {}
            for event in records:
                if event.value is None:
                    continue
                row_id = decode_key(event.key)[2]
                version = json.loads(event.value)["source"]["change_version"]
                assert version > newest.get(row_id, ""), f"{topic} {row_id} does not grow"
                newest[row_id] = version
                event_id = dict(event.headers)["event_id"]
                assert event_id not in ids, f"{topic} {row_id} stands twice"
                ids.add(event_id)


def differences(
    rows: Mapping[str, Mapping[str, Any]], truth: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """In words: keys too many, keys missing, columns that differ."""
    found = [f"{key}: is too many" for key in rows.keys() - truth.keys()]
    found += [f"{key}: is missing" for key in truth.keys() - rows.keys()]
    for key in rows.keys() & truth.keys():
        for name, value in truth[key].items():
            if rows[key][name] != value:
                found.append(f"{key}.{name}: {rows[key][name]!r}, not {value!r}")
    return found
