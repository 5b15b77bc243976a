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
    Refused,
    SettingsError,
    Unavailable,
    Unfit,
)
from cdc.runtime.kafka import KafkaConnection
from cdc.runtime.postgres import Connection, PostgresTarget
from consumers.apply import Outcome, Writer
from consumers.batch import Batch, Move
from consumers.consume import Consumer
from consumers.feed import Feed
from consumers.isolate import REFUSED_ROWS_MIN, Circuit
from consumers.metrics import NoMetrics
from consumers.placing import Placing
from consumers.rows import Fold
from consumers.settings import ConsumerSettings
from consumers.state import Progress
from tests.unit.test_apply import PLACE, TRANSACTIONS, row


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
    batch = Batch(0, {PLACE: Move("a", 0, 60)}, {TRANSACTIONS: fold})
    writer = Writer(RefusingDatabase(1), "group", Circuit())  # type: ignore[arg-type]
    with pytest.raises(Conflict):
        await writer.apply(batch, Outcome(), careful=True)
    outcome = Outcome()
    await writer.apply(batch, outcome, careful=True)
    assert len(outcome.parked) == len(fold.rows)


class FeedWithoutKafka:
    """A member that has joined; nothing is ever read of it here."""

    open, failures = True, 0

    async def stay(self) -> None: ...


async def tries(error: LedgerError) -> int:
    """How often it is tried where the database answers so, three at most; raises what ends it."""
    stop, tried = asyncio.Event(), 0

    async def connect() -> Connection:
        nonlocal tried
        tried += 1
        if tried == 3:
            stop.set()
        raise error

    settings = ConsumerSettings(
        target="main",
        database=PostgresTarget(dsn=""),
        kafka=KafkaConnection(bootstrap_servers=""),
        topic_prefix="p",
        entities={TRANSACTIONS: 1},
    )
    consumer = Consumer(
        settings,
        feed=cast(Feed, FeedWithoutKafka()),
        connect=connect,
        placing=cast(Placing, None),
        progress=Progress("main", lambda: 0.0, structlog.get_logger(), NoMetrics()),
        backoff=lambda attempt: 0.0,
        chance=lambda: 0.5,
    )
    try:
        await consumer.run(stop)
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
