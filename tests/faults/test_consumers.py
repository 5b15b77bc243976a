"""Several consumers, zombies among them, on a topic as it may come and a database as it may be."""

import json
import random
import signal
from typing import Any

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaProducer
from bson import ObjectId

from tests.crash.nursery import Nursery
from tests.faults.system import PARTITIONS, System, quick
from tests.faults.test_source_position import payment
from tests.invariants import require, tables_are_folds, totals_are_sums

RSS_MAX = 200 * 1024 * 1024
APPLIED = "SELECT count(*) FROM accounting.transactions_live"


async def test_c2_a_zombie_that_wakes_after_its_partitions_moved_applies_nothing(
    way: System, nursery: Nursery
) -> None:
    """It stands right before its commit for longer than its session; another has gone on."""
    await way.mongo.payments.insert_many([payment() for _ in range(30)])
    way.source.start()
    await way.all_published()
    zombie = await quick(
        way,
        nursery,
        "consume",
        instance="",
        ONLY="_commit > postgres execute COMMIT before",
        NTH="2",
        SIGNAL="SIGSTOP",
    )
    await way.until(lambda: _stopped(zombie.pid), "the zombie stands still")
    other = await quick(way, nursery, "consume", instance="")
    await way.mongo.payments.insert_many([payment() for _ in range(30)])
    await way.require_right()
    applied_at = await way.postgres.fetch("SELECT id, applied_at FROM accounting.transactions")
    zombie.signal(signal.SIGCONT)
    await way.mongo.payments.insert_many([payment() for _ in range(30)])
    await way.require_right()
    rows = await way.postgres.fetch("SELECT id, applied_at FROM accounting.transactions")
    assert {tuple(row) for row in applied_at} <= {tuple(row) for row in rows}
    for life in (zombie, other):
        life.signal(signal.SIGTERM)
        assert await life.ended == 0


async def _stopped(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


async def test_c3_members_that_come_and_go_all_the_time_lose_and_double_nothing(
    way: System, nursery: Nursery
) -> None:
    """Every rebalance takes the positions away; they come back from Postgres alone."""
    writer = way.writer(21)
    await writer.found(60)
    way.source.start()
    way.consumer.start()
    async with way.writing(writer):
        for number in range(5):
            guest = await quick(way, nursery, "consume", instance="")
            wanted = writer.written + 40
            await way.until(lambda n=wanted: _reached(writer.written, n), "the writer goes on")
            guest.signal(signal.SIGTERM if number % 2 else signal.SIGKILL)
            await guest.ended
    await way.require_right()


async def _reached(there: int, wanted: int) -> bool:
    return there >= wanted


async def test_c13_c14_c15_records_again_and_out_of_order_change_nothing(way: System) -> None:
    """Duplicates, older versions after newer, inserts after their delete: versions decide."""
    writer = way.writer(22)
    await writer.found(40)
    await writer.steps(120)
    await way.running()
    await writer.steps(120)
    await way.require_right()
    assert await way.source.stop() == 0
    before = (await way.seen()).rows
    records = way.topics.of(*way.entity_topics)
    again = [record for record in records for _ in range(random.Random(1).randrange(1, 4))]
    random.Random(2).shuffle(again)
    producer = AIOKafkaProducer(bootstrap_servers=way.servers["KAFKA_BOOTSTRAP_SERVERS"])
    await producer.start()
    for each in again:
        await producer.send(
            each.topic, each.value, each.key, each.partition, headers=[*each.headers.items()]
        )
    await producer.stop()
    await way.until(way.applied, "everything is applied")
    seen = await way.seen()
    assert {t: stripped(rows) for t, rows in seen.rows.items()} == {
        t: stripped(rows) for t, rows in before.items()
    }
    require(totals_are_sums(seen.rows["transactions"].values(), seen.totals))
    seen.records = records
    require(tables_are_folds(seen))


def stripped(rows: Any) -> dict[str, dict[str, Any]]:
    return {row_id: {**row, "applied_at": None} for row_id, row in rows.items()}


async def test_c20_a_table_that_is_locked_for_long_keeps_memory_and_membership(
    way: System, nursery: Nursery
) -> None:
    """Nothing piles up behind a slow database but the lag, which shows; then all is made up for."""
    await way.mongo.payments.insert_one(payment())
    way.source.start()
    consumer = await quick(way, nursery, "consume")
    await way.quiet()
    locker = await asyncpg.connect(way.database)
    await locker.execute("BEGIN; LOCK TABLE accounting.transactions")
    for _ in range(20):
        await way.mongo.payments.insert_many([payment(note="x" * 500) for _ in range(1000)])
    await way.all_published()
    process = psutil.Process(consumer.pid)
    heaviest = 0

    async def waits() -> bool:
        nonlocal heaviest
        heaviest = max(heaviest, process.memory_info().rss)
        return bool(way.told("55P03", way.consumer.log))

    await way.until(waits, "the consumer waits for the lock")
    await locker.close()
    await way.require_right()
    heaviest = max(heaviest, process.memory_info().rss)
    assert heaviest < RSS_MAX
    assert not await way.postgres.fetchval("SELECT count(*) FROM sync.dead_letters")
    consumer.signal(signal.SIGTERM)
    assert await consumer.ended == 0


PATIENT = """ALTER DATABASE "{database}" SET deadlock_timeout = '3s'"""
"""The server looks for a circle once a wait, after that time: until then it must be closed."""
WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND $1 = ANY (pg_blocking_pids(pid))
"""
FREE = "SELECT id FROM accounting.transactions WHERE id = $1 FOR UPDATE SKIP LOCKED"
CHANGED = "SELECT count(*) FROM accounting.transactions WHERE reference = 'changed'"


async def test_p1_the_loser_of_a_deadlock_does_it_all_again(way: System) -> None:
    """Somebody else writes the same rows in another order: no row is lost, none is parked."""
    await way.postgres.execute(PATIENT.format(database=way.database.rpartition("/")[2]))
    await way.mongo.payments.insert_many([payment() for _ in range(PARTITIONS + 1)])
    await way.running()
    first, last = await _of_one_partition(way)
    rival = await asyncpg.connect(way.database)
    await rival.execute("SET deadlock_timeout = '30s'")  # so that the consumer is the one to lose
    touch = "UPDATE accounting.transactions SET description = 'x' WHERE id = $1"
    async with rival.transaction():
        await rival.execute(touch, str(last))
        change = {"$set": {"reference": "changed"}}
        async with way.client.start_session() as session, await session.start_transaction():
            await way.mongo.payments.update_many(
                {"_id": {"$in": [first, last]}}, change, session=session
            )
        await way.until(lambda: _blocks(way, rival), "the consumer waits for the rival's row")
        assert await way.postgres.fetchval(FREE, str(first)) is None  # having the other one
        await rival.execute(touch, str(first))  # the circle: one of the two is thrown out
        assert not await way.postgres.fetchval(CHANGED)
    await rival.close()
    await way.require_right()
    assert way.told("55P03", way.consumer.log) == 0  # it was no lock that took too long
    assert not await way.postgres.fetchval("SELECT count(*) FROM sync.dead_letters")


async def _of_one_partition(way: System) -> tuple[ObjectId, ObjectId]:
    """Two payments whose events come in one poll, in the order in which rows are written."""
    await way.topics.catch_up()
    found: dict[int, list[str]] = {}
    for record in way.topics.of(f"{way.prefix}.accounting.transactions"):
        ids = found.setdefault(record.partition, [])
        ids.append(json.loads(record.key or b"")["id"])
        if len(ids) == 2:
            first, last = sorted(ids)
            return ObjectId(first), ObjectId(last)
    raise AssertionError("more payments than partitions, and no two in one")


async def _blocks(way: System, rival: "asyncpg.Connection[Any]") -> bool:
    return bool(await way.postgres.fetchval(WAITING, rival.get_server_pid()))


FULL = """
CREATE FUNCTION accounting.full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left' USING ERRCODE = '{code}'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON accounting.transactions
FOR EACH STATEMENT EXECUTE FUNCTION accounting.full_disk();
"""


@pytest.mark.parametrize("code", ["53100", "53300", "57P03"])
async def test_p10_a_full_disk_or_server_parks_nothing_and_is_waited_for(
    way: System, code: str
) -> None:
    """It concerns no row: the transaction is rolled back, retried with back-off, and seen."""
    await way.postgres.execute(FULL.format(code=code))
    await way.mongo.payments.insert_many([payment() for _ in range(5)])
    way.source.start()
    way.consumer.start()
    await way.heard("No space left", log=way.consumer.log)
    assert not await way.postgres.fetchval("SELECT count(*) FROM sync.dead_letters")
    await way.postgres.execute("DROP TRIGGER full_disk ON accounting.transactions")
    await way.require_right()
    assert not await way.postgres.fetchval("SELECT count(*) FROM sync.dead_letters")
