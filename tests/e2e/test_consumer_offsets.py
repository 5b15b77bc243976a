"""Stored offsets that cannot simply be gone on from. In brackets: rows of the fault matrix."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from consumers.app import ConsumerService
from schemas.topics import entity_topic
from tests.conftest import Addresses
from tests.consumer_world import (
    PARTITIONS,
    QUICK,
    TRANSACTIONS,
    Counts,
    World,
    applied,
    consuming,
    deleted,
    holds,
    make_world,
    payment,
    tombstone,
    until,
    version,
)
from tests.kafka_topics import delete_topic, make_topic, stable_to_the_end


@pytest.fixture
async def world(stack: Addresses, database: str, topic_prefix: str) -> AsyncIterator[World]:
    made = await make_world(stack.kafka_bootstrap_servers, database, topic_prefix)
    yield made
    await made.database.close()


async def test_offsets_moved_by_another_are_read_again(world: World) -> None:
    """(C2) A zombie's expectation is not met: nothing of its batch is written."""
    counts = Counts()
    settings = world.limited(touch_seconds=0.5)
    async with consuming(world, settings, backoff=QUICK, metrics=counts):
        await world.publish(payment("t1", 1))
        await until(world.caught_up)
        await world.database.execute("UPDATE sync.offsets SET next_offset = 0")
        await world.publish(payment("t2", 1))
        await until(world.caught_up)
    assert await world.amounts() == {"t1": 10, "t2": 10}
    assert "Fenced" in counts.retries
    assert counts.by_outcome == {"applied": 2, "duplicate": 1}


async def test_c6_a_missing_row_starts_at_the_logs_start(world: World) -> None:
    """Never at the end: what was there before is applied."""
    await world.publish(payment("t1", 1))
    await applied(world)
    await world.database.execute("DELETE FROM sync.offsets")
    await world.database.execute("DELETE FROM accounting.transactions")
    await applied(world)
    assert await world.amounts() == {"t1": 10}


async def recreate(world: World, name: str) -> None:
    """Gone before it is made anew: a broker that hears of both at once may still take records
    for the old log while it names the new topic, and they go with it."""
    topic = entity_topic(world.settings.topic_prefix, name, PARTITIONS)
    await delete_topic(world.settings.kafka, topic.name)
    settings = {key.replace(".", "_"): value for key, value in topic.config.items()}
    await make_topic(world.settings.kafka, topic.name, topic.partitions, **settings)


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("more", [False, True])
async def test_c8_a_topic_made_anew(world: World, running: bool, more: bool) -> None:
    """Told, and read from its start, with fewer or more records than before."""
    counts = Counts()
    await world.publish(*(payment(f"old{i}", 1) for i in range(20)))
    await applied(world)
    count = 60 if more else 2
    if not running:
        await recreate(world, TRANSACTIONS)
        await world.publish(*(payment(f"new{i}", 1) for i in range(count)))
    async with consuming(world, backoff=QUICK, metrics=counts) as service:
        if running:
            await until(lambda: _settled(service))
            await recreate(world, TRANSACTIONS)
            await world.publish(*(payment(f"new{i}", 1) for i in range(count)))
        await until(lambda: _has(world, 20 + count))
        await until(world.caught_up)
        gaps = [gap["reason"] for gap in service.progress.gaps]
    assert set(gaps) == {"recreated"} == set(counts.gaps)
    assert await world.differing_totals() == []


async def _settled(service: ConsumerService) -> bool:
    return len(service.progress.offsets) == 3 * PARTITIONS + 1


async def _has(world: World, count: int) -> bool:
    return len(await world.amounts()) == count


async def test_c7_a_log_whose_beginning_is_gone(
    stack: Addresses, database: str, topic_prefix: str
) -> None:
    """Told; what is left is applied."""
    kafka = stack.kafka_bootstrap_servers
    world = await make_world(kafka, database, topic_prefix, policy="compact,delete")
    await world.publish(payment("t1", 1))
    await applied(world)
    await world.publish(*(payment(f"x{i}", 1) for i in range(20)))
    await world.publish(*(payment(f"y{i}", 1) for i in range(20)))
    admin = AIOKafkaAdminClient(**world.settings.kafka.client_options())
    await admin.start()
    stored = await world.stored()
    try:
        cut = {
            TopicPartition(*place): RecordsToDelete(offset + 5)
            for place, offset in stored.items()
            if place[0] == world.topic(TRANSACTIONS)
        }
        await admin.delete_records(cut)
    finally:
        await admin.close()
    counts = Counts()
    await applied(world, metrics=counts)
    assert set(counts.gaps) == {"expired"}
    assert {row_id for row_id in await world.amounts() if row_id[0] == "y"} == {
        f"y{i}" for i in range(20)
    }
    await world.database.close()


async def test_a_log_that_ends_before_the_offset(world: World) -> None:
    """Believed only when seen several times; then read from its start."""
    await world.publish(payment("t1", 1))
    await applied(world)
    await world.database.execute("UPDATE sync.offsets SET next_offset = next_offset + 1000")
    counts = Counts()
    async with consuming(world, backoff=QUICK, metrics=counts):
        await until(lambda: holds(bool(counts.gaps)))
        await world.publish(payment("t2", 1))
        await until(world.caught_up)
    assert set(counts.gaps) == {"truncated"}
    assert len(counts.retries) >= 3
    assert set(await world.amounts()) == {"t1", "t2"}


async def test_deletes_that_compaction_forgot_are_found(world: World) -> None:
    """Back after too long: what lives in the table and no more on the topic is marked deleted."""
    await world.publish(*(payment(f"t{i}", 5) for i in range(10)))
    await world.publish(payment("gone", 5), deleted(TRANSACTIONS, "t9", 6))
    await applied(world)
    places = {row["id"]: row for row in await world.database.fetch(LINEAGE)}
    # As if 'lost' had been applied once, deleted, and all its records compacted away; 'bare' left
    # only its tombstone; 'young' came from beyond the end of the scan.
    await world.database.execute(LIKE, "gone", "lost", 0)
    await world.database.execute(LIKE, "gone", "young", 10_000)
    await world.publish(tombstone(TRANSACTIONS, "gone"))
    await applied(world)
    assert "lost" in await world.amounts()
    await world.database.execute("UPDATE sync.offsets SET updated_at = now() - interval '8 days'")
    await world.publish(*(payment(f"new{i}", 1) for i in range(10)))
    await until(lambda: _shown(world))
    counts = Counts()
    async with consuming(world, metrics=counts):
        await until(lambda: _open_gaps(world))
        await until(world.caught_up)
    assert set(counts.gaps) == {"silent"}
    kept = {f"t{i}" for i in range(9)} | {f"new{i}" for i in range(10)} | {"young"}
    assert set(await world.amounts()) == kept
    rows = await world.rows("accounting.transactions", "version", "amount", "deleted")
    assert rows["lost"] == (version(5), Decimal(10), True)
    assert await world.differing_totals() == []
    assert set(places) == {"gone", *(f"t{i}" for i in range(10))}


LINEAGE = 'SELECT id, topic, partition, "offset" FROM accounting.transactions'
LIKE = """
INSERT INTO accounting.transactions (book, source, id, property_id, type, amount, currency, settled,
    version, topic, partition, "offset")
SELECT book, source, $2, property_id, type, amount, currency, settled,
    version, topic, partition, "offset" + $3
FROM accounting.transactions WHERE id = $1
"""


async def _shown(world: World) -> bool:
    """Whether all can be read: a commit is answered before the broker has written its markers."""
    kafka, topic = world.settings.kafka, world.topic(TRANSACTIONS)
    return all([await stable_to_the_end(kafka, topic, each) for each in range(PARTITIONS)])


async def _open_gaps(world: World) -> bool:
    """Whether gaps were noticed and all are mended."""
    return bool(
        await world.one(
            "SELECT bool_and(gap_end IS NULL) AND max(updated_at) > now() - interval '1 day'"
            " FROM sync.offsets"
        )
    )


async def test_idle_rows_show_signs_of_life(world: World) -> None:
    async with consuming(world, world.limited(touch_seconds=0.2)):
        await until(world.caught_up)
        seen = await world.one("SELECT min(updated_at) FROM sync.offsets")

        async def moved() -> Any:
            return await world.one("SELECT min(updated_at) > $1 FROM sync.offsets", seen)

        await until(moved)
