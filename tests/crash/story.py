"""What happens to a company while one of our processes dies again and again.

Each part of a story brings the process through another part of its code: first snapshot beside
writes, a dropped collection, what a person asks for, dead letters, nothing at all, its end.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiokafka import AIOKafkaProducer

from tests.crash.lives import Lives
from tests.crash.nursery import Nursery
from tests.faults.system import BOOK, System

PART_SECONDS_MAX = 3000.0
WRITE_PAUSE_SECONDS = 0.03
STRANGER = "stranger"


async def source_story(
    nursery: Nursery, way: System, crash: Mapping[str, str] | None = None, seed: int = 1
) -> Lives:
    """The source dies; the consumer lives. Every invariant holds after each part."""
    way.patience_seconds = PART_SECONDS_MAX
    writer = way.writer(seed)
    await writer.found(24)
    lives = Lives(nursery, way, "run", crash)
    way.consumer.start()
    async with asyncio.TaskGroup() as group:
        living = group.create_task(lives.live(), name="live")
        async with way.writing(writer, WRITE_PAUSE_SECONDS):
            await _until(way, way.published, "the first snapshot is published")
        await way.require_right()
        async with way.writing(writer, WRITE_PAUSE_SECONDS):
            await way.mongo.users.drop()
            writer.ids["users"].clear()
            await way.ask("resync")
            await way.ask("retry", collection="payments", ids=await _unmapped(way))
            await _until(way, way.answered, "what was asked for is done")
        await writer.mend()
        await _until(way, way.published, "everything is published")
        await way.require_right()
        lives.stop()
        await living
    await way.require_right()
    return lives


async def _unmapped(way: System) -> list[str]:
    """Ids of payments that do not map, as dead letters name them."""
    without = way.mongo.payments.find({"amount": {"$exists": False}})
    found = [str(each["_id"]) async for each in without]
    return [each for each in found if len(each) == 24] or ["0" * 24]


async def consumer_story(
    nursery: Nursery, way: System, crash: Mapping[str, str] | None = None, seed: int = 2
) -> Lives:
    """The consumer dies; the source lives. Every invariant holds after each part."""
    way.patience_seconds = PART_SECONDS_MAX
    writer = way.writer(seed)
    await writer.found(24)
    lives = Lives(nursery, way, "consume", crash)
    way.source.start()
    async with asyncio.TaskGroup() as group:
        living = group.create_task(lives.live(), name="live")
        async with way.writing(writer, WRITE_PAUSE_SECONDS):
            await _until(way, way.published, "the first snapshot is published")
            await _until(way, way.applied_once, "every partition has its offset")
        await way.require_right()
        async with way.writing(writer, WRITE_PAUSE_SECONDS):
            await _strange_records(way)
            await _until(way, _parked(way), "strange records are parked")
        async with lives.nobody():
            await way.postgres.execute(
                "UPDATE sync.offsets SET updated_at = updated_at - interval '30 days'"
            )
            await writer.steps(60)
            await way.all_published()
        await way.require_right()
        await _until(way, _no_gaps(way), "missed deletes are looked for")
        lives.stop()
        await living
    await writer.mend()
    await way.all_published()
    way.consumer.start()
    await way.require_right()
    return lives


async def _strange_records(way: System) -> None:
    """What nobody of ours writes: no JSON, another schema, a row that Postgres refuses."""
    producer = AIOKafkaProducer(bootstrap_servers=way.servers["KAFKA_BOOTSTRAP_SERVERS"])
    await producer.start()
    try:
        topic = f"{way.prefix}.accounting.transactions"
        for number, value in enumerate((b"{", b'{"op":"c"}', _refused(), _refused())):
            key = {"book": BOOK, "id": f"strange-{number}", "source": STRANGER}
            await producer.send_and_wait(topic, value, json.dumps(key).encode())
    finally:
        await producer.stop()


def _refused() -> bytes:
    """A well-formed event whose amount no table holds."""
    after: dict[str, Any] = {
        **dict.fromkeys(
            ("property_id", "date", "description", "status", "payment_method", "reference")
        ),
        "type": "income",
        "amount": "9" * 120,
        "currency": "USD",
        "settled": True,
    }
    source = {
        "version": "1",
        "connector": "mongodb",
        "name": STRANGER,
        "ts_ms": 1,
        "snapshot": "false",
        "db": "d",
        "collection": "payments",
        "mapping": "payments:accounting.transactions",
        "change_version": "00" * 13 + "01",
    }
    return json.dumps(
        {"before": None, "after": after, "op": "c", "source": source, "ts_ms": 1}
    ).encode()


def _parked(way: System) -> Callable[[], Awaitable[bool]]:
    async def parked() -> bool:
        query = "SELECT count(*) FROM sync.dead_letters WHERE stage = 'apply'"
        return bool(await way.postgres.fetchval(query) == 4)

    return parked


def _no_gaps(way: System) -> Callable[[], Awaitable[bool]]:
    async def none() -> bool:
        query = "SELECT count(*) FROM sync.offsets WHERE gap_end IS NOT NULL"
        return not await way.postgres.fetchval(query)

    return none


async def _until(way: System, condition: Callable[[], Awaitable[bool]], what: str) -> None:
    await way.history.catch_up()
    await way.until(condition, what)
