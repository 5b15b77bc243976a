"""Kafka to Postgres on real servers: what is published becomes rows, once, in order, guarded.

Names in brackets are rows of the fault matrix.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest

from tests.conftest import Addresses
from tests.consumer_world import (
    OWNERS,
    PROPERTIES,
    TRANSACTIONS,
    Counts,
    World,
    applied,
    consuming,
    deleted,
    hash_of,
    holds,
    make_world,
    payment,
    told,
    tombstone,
    until,
    version,
)


@pytest.fixture
async def world(stack: Addresses, database: str, topic_prefix: str) -> AsyncIterator[World]:
    made = await make_world(stack.kafka_bootstrap_servers, database, topic_prefix)
    yield made
    await made.database.close()


async def test_an_event_becomes_a_row_with_its_lineage(world: World) -> None:
    happened = datetime(2026, 3, 1, 12, 0, 0, 123000, tzinfo=UTC)
    event = payment("t1", 7, amount="1234567890123456.70", description='a\tb\\c\nd\r"ü" 漢')
    event = told(
        TRANSACTIONS,
        "t1",
        7,
        orjson.loads(event.value or b"")["after"],
        at_ms=round(happened.timestamp() * 1000),
    )
    await world.publish(event)
    await applied(world)
    row = await world.database.fetchrow("SELECT * FROM accounting.transactions")
    after = orjson.loads(event.value or b"")["after"]
    assert row is not None
    found = dict(row)
    assert found.pop("applied_at") <= datetime.now(UTC)
    assert found.pop("partition") in (0, 1)
    assert found == {
        "book": "acme",
        "source": "property",
        "id": "t1",
        "property_id": "p1",
        "type": "income",
        "amount": Decimal("1234567890123456.70"),
        "currency": "EUR",
        "date": date(2026, 3, 1),
        "description": 'a\tb\\c\nd\r"ü" 漢',
        "status": "completed",
        "settled": True,
        "payment_method": None,
        "reference": None,
        "transaction_hash": hash_of("t1", after),
        "deleted": False,
        "version": version(7),
        "source_time": happened,
        "topic": world.topic(TRANSACTIONS),
        "offset": 0,
    }


async def test_many_rows_at_once_are_the_same_as_few(world: World) -> None:
    """Above the limit rows go by COPY, below it by arrays: awkward text survives both."""
    awkward = [
        "\\N",
        "\\.",
        "a\\tb",
        "\t",
        "\n",
        "\r\n",
        "",
        " ",
        "\\",
        '"',
        "\x01",
        "NULL",
        "ü\u2028",
    ]
    many = [payment(f"m{i}", 1, description=awkward[i % len(awkward)]) for i in range(1000)]
    few = [payment(f"f{i}", 1, description=text) for i, text in enumerate(awkward)]
    await world.publish(*many)
    await applied(world)
    await world.publish(*few)
    await applied(world)
    rows = await world.rows("accounting.transactions", "description")
    assert {i: rows[f"m{i}"][0] for i in range(1000)} == {
        i: awkward[i % len(awkward)] for i in range(1000)
    }
    assert [rows[f"f{i}"][0] for i in range(len(awkward))] == awkward


async def test_only_a_newer_version_is_written(world: World) -> None:
    """(C13, C14) Duplicates and older events have no effect, and are counted as what they are."""
    counts = Counts()
    await world.publish(payment("t1", 5, amount="5"))
    await applied(world, metrics=counts)
    await world.publish(payment("t1", 5, amount="55"), payment("t2", 1))
    await applied(world, metrics=counts)
    await world.publish(payment("t1", 4, amount="4"))
    await applied(world, metrics=counts)
    assert (await world.rows("accounting.transactions", "amount"))["t1"] == (Decimal(5),)
    assert counts.by_outcome == {"applied": 2, "duplicate": 1, "stale": 1}


async def test_c16_versions_of_a_key_are_folded_in_one_poll(world: World) -> None:
    """A hot key: the highest version stands, each event is counted once."""
    counts = Counts()
    events = [payment("hot", n, amount=str(n)) for n in range(1, 501)]
    await world.publish(*events, payment("hot", 3, amount="3"), payment("hot", 500, amount="500"))
    await applied(world, metrics=counts)
    assert await world.rows("accounting.transactions", "amount", "version") == {
        "hot": (Decimal(500), version(500))
    }
    assert counts.by_outcome == {"applied": 500, "stale": 1, "duplicate": 1}


async def test_a_deleted_row_keeps_its_content_and_stays_deleted(world: World) -> None:
    """(C15) No older event revives it, whatever way it comes; a newer one does."""
    await world.publish(payment("t1", 1, amount="7"))
    await applied(world)
    await world.publish(deleted(TRANSACTIONS, "t1", 3), tombstone(TRANSACTIONS, "t1"))
    await applied(world)
    kept = {"t1": (True, Decimal(7), version(3))}
    assert await world.rows("accounting.transactions", "deleted", "amount", "version") == kept
    await world.publish(payment("t1", 2, amount="8"))
    await applied(world)
    assert await world.rows("accounting.transactions", "deleted", "amount", "version") == kept
    assert await world.rows("accounting.transactions_live", "amount") == {}
    await world.publish(payment("t1", 4, amount="9"))
    await applied(world)
    assert await world.rows("accounting.transactions_live", "amount") == {"t1": (Decimal(9),)}
    assert await world.one("SELECT count(*) FROM sync.dead_letters") == 0


async def test_a_delete_in_the_same_poll_leaves_the_last_content(world: World) -> None:
    await world.publish(payment("t1", 1, amount="7"), deleted(TRANSACTIONS, "t1", 2))
    before = orjson.loads(payment("t2", 1, amount="8").value or b"")["after"]
    await world.publish(deleted(TRANSACTIONS, "t2", 2, before=before))
    await world.publish(deleted(TRANSACTIONS, "t3", 2))
    await applied(world)
    assert await world.rows("accounting.transactions", "deleted", "amount") == {
        "t1": (True, Decimal(7)),
        "t2": (True, Decimal(8)),
        "t3": (True, None),
    }
    assert await world.differing_totals() == []


async def test_c17_aborted_transactions_leave_no_trace(world: World) -> None:
    """And the stored offsets reach the end all the same."""
    await world.publish(payment("t1", 1))
    await world.publish(payment("t2", 1), abort=True)
    await applied(world)
    assert set(await world.rows("accounting.transactions", "amount")) == {"t1"}


async def test_two_consumers_share_and_lose_nothing(world: World) -> None:
    """(C3) Members come and go while events flow: every row right, every balance too."""
    enough, last = asyncio.Event(), 0

    async def write() -> None:
        nonlocal last
        while not enough.is_set():
            last += 1
            await world.publish(
                *(
                    payment(f"t{i}", last, property_id=f"p{(i + last) % 5}", amount=str(last))
                    for i in range(40)
                )
            )

    writing = asyncio.create_task(write())
    try:
        async with consuming(world):
            for _ in range(2):
                async with consuming(world) as second:
                    await until(lambda s=second: holds(s.progress.events_total > 0))
                gone_at = last
                await until(lambda at=gone_at: holds(last > at + 2))
            enough.set()
            await writing
            await until(world.caught_up)
    finally:
        enough.set()
        await writing
    rows = await world.rows("accounting.transactions", "amount", "property_id")
    assert rows == {f"t{i}": (Decimal(last), f"p{(i + last) % 5}") for i in range(40)}
    assert await world.differing_totals() == []


async def test_all_entities_come_in_one_transaction(world: World) -> None:
    await world.publish(
        told(PROPERTIES, "p1", 1, {"name": "House", "owner_id": "o1", "currency": "eur"}),
        told(OWNERS, "o1", 1, {"name": "Ann"}),
        payment("t1", 1, amount="100"),
        payment("t2", 1, amount="30.5", type="repair"),
        payment("t3", 1, amount="999", settled=False),
        payment("t4", 1, amount="999", currency="USD"),
    )
    await applied(world)
    assert await world.rows(
        "accounting.property_accounts_live",
        "owner_name",
        "currency",
        "running_balance",
        "total_income",
        "total_expenses",
    ) == {"p1": ("Ann", "EUR", Decimal("69.5"), Decimal(100), Decimal("30.5"))}


async def test_kafka_is_told_the_offsets_for_lag_tools(world: World) -> None:
    from aiokafka.admin import AIOKafkaAdminClient

    await world.publish(payment("t1", 1))
    await applied(world)
    admin = AIOKafkaAdminClient(**world.settings.kafka.client_options())
    await admin.start()
    try:
        told_kafka = await admin.list_consumer_group_offsets(world.group)
    finally:
        await admin.close()
    stored = await world.stored()
    assert {(tp.topic, tp.partition): at.offset for tp, at in told_kafka.items()} == stored


async def test_what_it_sees_is_written_down(world: World) -> None:
    await world.publish(payment("t1", 1))
    async with consuming(world):
        await until(world.caught_up)

        async def seen() -> Any:
            found = await world.one("SELECT state::text FROM sync.observed WHERE kind = 'consumer'")
            state = orjson.loads(found or "{}")
            done = state.get("events_total") == 1 and state["partitions"]
            return done and all(each["lag_records"] == 0 for each in done)

        await until(seen)
    assert await world.one("SELECT count(*) FROM sync.observed") == 0  # it ended, and said so
