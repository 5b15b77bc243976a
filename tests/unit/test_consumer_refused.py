"""A row that Postgres refuses: read again with its record, parked, and all goes on as before."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import asyncpg
import pytest
import structlog

from cdc.runtime.errors import BrokenPromise
from cdc.runtime.postgres import Connection
from consumers.consume import Consumer
from consumers.feed import Polled
from consumers.metrics import NoMetrics
from consumers.offsets import GapReason, Start
from consumers.rows import Place
from consumers.state import Progress
from schemas.sql import query
from schemas.topics import entity_topic_name
from tests.unit.test_apply import TRANSACTIONS, Read, record
from tests.unit.test_consumer_retried import ClosedDatabase, FeedWithoutKafka, consumer

AT = Place(entity_topic_name("p", TRANSACTIONS), 0)
IDS = ("t0", "t1", "bad", "t3", "t4", "t5", "t6", "t7")
SECONDS_MAX = 30.0


class PickyDatabase(ClosedDatabase):
    """Refuses the row ``bad``. ``careful``: by transaction, whether rows went under savepoints."""

    def __init__(self, end: int) -> None:
        self.stop = asyncio.Event()
        self.careful: list[bool] = []
        self.letters: list[tuple[Any, ...]] = []
        self.committed = 0
        self.commit_error: Exception | None = None
        self._end = end
        self._next = 0

    def is_closed(self) -> bool:
        return False

    def terminate(self) -> None: ...

    async def execute(self, statement: str, *arguments: Any, timeout: float = 0) -> str:
        await asyncio.sleep(0)  # what is read ahead goes on meanwhile
        if statement.startswith("BEGIN"):
            self.careful.append(False)
        elif statement == "SAVEPOINT rows":
            self.careful[-1] = True
        elif statement == query("park"):
            self.letters.append(arguments)
        elif "next_offset" in statement:
            (self._next,) = arguments[-1]
            return "UPDATE 1"
        elif statement == "COMMIT":
            if self.commit_error is not None:
                raise self.commit_error
            self.committed = self._next
            if self.committed == self._end:
                self.stop.set()
        elif "INSERT INTO accounting" in statement:
            if any("bad" in column for column in arguments[1:]):
                raise asyncpg.NumericValueOutOfRangeError("too large")
            return f"INSERT 0 {len(arguments[1])}"
        return statement


class ReadAgainFeed(FeedWithoutKafka):
    """Gives the next ``sizes`` of the records (the last size again and again) from ``at``."""

    def __init__(self, records: Sequence[Read], sizes: Sequence[int]) -> None:
        self.positioned, self.generation, self.at = False, 0, 0
        self.lost = asyncio.Event()
        self.lost.set()
        self._records, self._sizes = list(records), list(sizes)

    def lose(self) -> None:
        self.positioned = False
        self.generation += 1
        self.lost.set()

    def stand(self) -> dict[Place, tuple[int, int]]:
        return {AT: (self.at, self.at)}

    async def poll(self, wait_ms: int, events_max: int) -> Polled:
        if not self._records:
            return Polled({}, {})
        if not self.positioned or self.at == len(self._records):
            return await asyncio.Future()
        before = self.at
        size = self._sizes.pop(0) if len(self._sizes) > 1 else self._sizes[0]
        found = self._records[before : before + size]
        self.at = before + len(found)
        return Polled({AT: found}, {AT: (before, self.at)})


class StoredPlacing:
    """Places at what was committed; ``gap`` is found at the second placing."""

    topic_ids = {AT.topic: "a"}  # noqa: RUF012 - as the real one's

    def __init__(
        self, feed: ReadAgainFeed, database: PickyDatabase, gap: GapReason | None = None
    ) -> None:
        self.placed = 0
        self._feed, self._database, self._gap = feed, database, gap

    async def place(self, connection: Connection) -> dict[Place, Start]:
        self.placed += 1
        self._feed.at, self._feed.positioned = self._database.committed, True
        self._feed.lost.clear()
        gap = self._gap if self.placed == 2 else None
        return {AT: Start("a", self._database.committed, gap=gap)}


def started(
    feed: ReadAgainFeed, database: PickyDatabase, placing: StoredPlacing
) -> tuple[Consumer, Progress]:
    async def connect() -> Connection:
        return cast(Connection, database)

    progress = Progress("main", lambda: 0.0, structlog.get_logger(), NoMetrics())
    return consumer(feed, connect, progress, placing), progress


def records() -> list[Read]:
    return [record(1, row_id=row_id)._replace(offset=at) for at, row_id in enumerate(IDS)]


@pytest.mark.parametrize("sizes", [(3, 3, 1), (3, 1), (3, 8), (8, 1)])
async def test_a_refused_row_is_read_again_with_its_record_and_care_ends_behind_it(
    sizes: tuple[int, ...],
) -> None:
    database, feed = PickyDatabase(len(IDS)), ReadAgainFeed(records(), sizes)
    placing = StoredPlacing(feed, database)
    one, progress = started(feed, database, placing)
    async with asyncio.timeout(SECONDS_MAX):
        await one.run(database.stop)
    assert placing.placed == 2, "it is refused once in a batch that is not careful"
    ((*columns, _),) = database.letters
    assert records()[2].value in [value for column in columns for value in column]
    assert (progress.events_total, progress.parked_total) == (len(IDS), 1)
    assert database.careful[:2] == [False, True]
    if sizes[-1] == 1 and sizes[0] == 3:
        assert database.careful[-1] is False


async def test_care_does_not_outlive_a_topic_made_anew() -> None:
    database, feed = PickyDatabase(len(IDS)), ReadAgainFeed(records(), (3, 1))
    placing = StoredPlacing(feed, database, gap=GapReason.RECREATED)
    one, _ = started(feed, database, placing)
    async with asyncio.timeout(SECONDS_MAX):
        await one.run(database.stop)
    assert placing.placed == 3, "what was suspect before says nothing of the new topic"


async def test_a_refusal_where_no_row_is_to_blame_ends_the_consumer() -> None:
    """Read again for ever, it would be refused for ever, and nobody told."""
    database, feed = PickyDatabase(1), ReadAgainFeed([], (1,))
    database.commit_error = asyncpg.RaiseError("a trigger of somebody else's")
    one, _ = started(feed, database, StoredPlacing(feed, database))
    async with asyncio.timeout(SECONDS_MAX):
        with pytest.raises(BrokenPromise, match="no row is to blame"):
            await one.run(database.stop)
