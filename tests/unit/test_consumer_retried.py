"""What a consumer tries again, and what ends it, without servers."""

import asyncio
from typing import cast

import asyncpg
import pytest
import structlog

from cdc.runtime.errors import (
    BrokenPromise,
    Conflict,
    Doubt,
    Fenced,
    LedgerError,
    Policy,
    Refused,
    SettingsError,
    Unavailable,
    Unfit,
    policy,
)
from cdc.runtime.kafka import KafkaConnection
from cdc.runtime.postgres import Connect, Connection, PostgresTarget
from consumers.apply import Outcome, Writer
from consumers.batch import Batch, Move
from consumers.consume import Consumer
from consumers.feed import Feed, Polled
from consumers.isolate import REFUSED_ROWS_MIN, Circuit
from consumers.metrics import NoMetrics
from consumers.offsets import GapReason, Start
from consumers.parked import parked_record
from consumers.placing import Placing
from consumers.rows import Fold, Place
from consumers.settings import ConsumerSettings
from consumers.state import Progress
from schemas.sql import query
from tests.unit.test_apply import PLACE, TRANSACTIONS, record, row


class RefusingDatabase:
    """Refuses every row for its content; its first commits are lost races."""

    def __init__(self, commits_lost: int) -> None:
        self.commits_lost = commits_lost

    def is_closed(self) -> bool:
        return False

    async def execute(self, statement: str, *arguments: object, timeout: float = 0) -> str:
        if statement == "COMMIT" and self.commits_lost:
            self.commits_lost -= 1
            raise asyncpg.SerializationError("lost")
        if "INSERT INTO accounting" in statement:
            raise asyncpg.NumericValueOutOfRangeError("too large")
        return "UPDATE 1" if "next_offset" in statement else statement


async def test_a_batch_that_is_tried_again_counts_its_refusals_once() -> None:
    """They were remembered before the commit: two tries of some bad rows blamed the table."""
    fold = Fold()
    for number in range(REFUSED_ROWS_MIN * 6 // 10):
        fold.add(row(1, row_id=f"t{number}"))
    batch = Batch(0, careful=True, moves={PLACE: Move("a", 0, 60)}, folds={TRANSACTIONS: fold})
    writer = Writer(RefusingDatabase(1), "group", Circuit())  # type: ignore[arg-type]
    with pytest.raises(Conflict):
        await writer.apply(batch, Outcome())
    outcome = Outcome()
    await writer.apply(batch, outcome)
    assert len(outcome.parked) == len(fold.rows)


class DatabaseWithoutLetters:
    """Takes everything but dead letters."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.ended = ""

    def is_closed(self) -> bool:
        return False

    async def execute(self, statement: str, *arguments: object, timeout: float = 0) -> str:
        if statement == query("park"):
            raise self.error
        if statement in ("COMMIT", "ROLLBACK"):
            self.ended = statement
        return "UPDATE 1" if "next_offset" in statement else statement


@pytest.mark.parametrize(
    "error",
    [asyncpg.ReadOnlySQLTransactionError("read-only"), asyncpg.DiskFullError("full")],
    ids=lambda error: str(error),
)
async def test_c12_no_offset_moves_where_a_dead_letter_cannot_be_written(error: Exception) -> None:
    letter = parked_record(record(1), PLACE, TRANSACTIONS, "not an event", "why")
    batch = Batch(0, {PLACE: Move("a", 0, 1)}, parked=[letter])
    database = DatabaseWithoutLetters(error)
    writer = Writer(database, "group", Circuit())  # type: ignore[arg-type]
    with pytest.raises(LedgerError) as caught:
        await writer.apply(batch, Outcome())
    assert database.ended == "ROLLBACK"
    assert policy(caught.value) is Policy.RETRY


class FeedWithoutKafka:
    """A member that has joined; nothing is ever read of it here."""

    open, failures = True, 0

    async def stay(self) -> None: ...


class ClosedDatabase:
    async def close(self, timeout: float) -> None: ...


def consumer(
    feed: FeedWithoutKafka, connect: Connect, progress: Progress, placing: object = None
) -> Consumer:
    settings = ConsumerSettings(
        target="main",
        database=PostgresTarget(dsn=""),
        kafka=KafkaConnection(bootstrap_servers=""),
        topic_prefix="p",
        entities={TRANSACTIONS: 1},
    )
    return Consumer(
        settings,
        feed=cast(Feed, feed),
        connect=connect,
        placing=cast(Placing, placing),
        progress=progress,
        backoff=lambda attempt: 0.0,
        chance=lambda: 0.5,
    )


class MovingFeed(FeedWithoutKafka):
    """Its assignment changes while it is placed for the first time."""

    positioned, generation = False, 0

    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self.lost.set()

    def lose(self) -> None: ...

    async def poll(self, wait_ms: int, events_max: int) -> Polled:
        return await asyncio.Future()


class TwicePlacing:
    """Finds a topic made anew; brings its offset row up to date, so that the next one does not."""

    def __init__(self, feed: MovingFeed, stop: asyncio.Event) -> None:
        self._feed, self._stop = feed, stop
        self._starts = [Start("b", 0, gap=GapReason.RECREATED), Start("b", 0)]

    async def place(self, connection: Connection) -> dict[Place, Start]:
        start = self._starts.pop(0)
        if not self._starts:
            self._feed.positioned = True
            self._stop.set()
        return {PLACE: start}


async def test_a_gap_is_told_though_the_partitions_move_while_it_is_found() -> None:
    stop, feed = asyncio.Event(), MovingFeed()
    progress = Progress("main", lambda: 0.0, structlog.get_logger(), NoMetrics())

    async def connect() -> Connection:
        return cast(Connection, ClosedDatabase())

    placing = TwicePlacing(feed, stop)
    await consumer(feed, connect, progress, placing).run(stop)
    assert [gap["reason"] for gap in progress.gaps] == ["recreated"]


async def tries(error: LedgerError) -> int:
    """How often it is tried where the database answers so, three at most; raises what ends it."""
    stop, tried = asyncio.Event(), 0

    async def connect() -> Connection:
        nonlocal tried
        tried += 1
        if tried == 3:
            stop.set()
        raise error

    progress = Progress("main", lambda: 0.0, structlog.get_logger(), NoMetrics())
    one = consumer(FeedWithoutKafka(), connect, progress)
    try:
        await one.run(stop)
    except LedgerError:
        assert tried == 1, "it ends at once"
        raise
    return tried


@pytest.mark.parametrize("kind", [BrokenPromise, SettingsError, Refused])
async def test_what_no_retry_can_mend_ends_the_consumer(kind: type[LedgerError]) -> None:
    with pytest.raises(kind):
        await tries(kind("so it is"))


@pytest.mark.parametrize("kind", [Unavailable, Unfit, Doubt, Fenced])
async def test_what_may_pass_is_tried_again(kind: type[LedgerError]) -> None:
    assert await tries(kind("not now")) == 3
