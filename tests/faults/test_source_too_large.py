"""What is above 16 MB: an event where images are needed, documents that are looked up together."""

import asyncio
from typing import Any

import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient

from cdc.runtime.errors import Gap
from cdc.sources.mongo import MongoSource
from cdc.sources.protocol import Checkpoint

LARGE_BYTES = 9 * 1024 * 1024
READ_SECONDS_MAX = 60.0
IMAGES = {"changeStreamPreAndPostImages": {"enabled": True}}


async def _next(source: MongoSource, stream: Any) -> tuple[int, Checkpoint]:
    found = 0
    async for item in source.changes(stream, wait_seconds=0.2):
        if isinstance(item, Checkpoint):
            return found, item
        found += len(item)
    raise AssertionError


async def test_a_gap_by_an_event_above_16_mb_is_over_with_a_new_position(
    mongo_database: str,
) -> None:
    """Read event by event for ever, an idle stream was never quiet, and any change a gap again."""
    client: AsyncMongoClient[Any] = AsyncMongoClient(mongo_database)
    database = client.get_default_database()
    await database.create_collection("payments", **IMAGES)
    source = MongoSource("property", mongo_database, ["payments"], images=["payments"])
    (stream,) = await source.open()
    await source.seek(stream, None)
    one = {"_id": ObjectId(), "filler": "x" * LARGE_BYTES}
    await database.payments.insert_one(one)
    await database.payments.replace_one({"_id": one["_id"]}, {"filler": "y" * LARGE_BYTES})
    with pytest.raises(Gap):
        async with asyncio.timeout(READ_SECONDS_MAX):
            while True:
                await _next(source, stream)
    await source.close()
    (stream,) = await source.open()
    await source.seek(stream, None)
    _, place = await _next(source, stream)
    assert not place.full
    await database.payments.insert_one({"small": 1})
    found = 0
    async with asyncio.timeout(READ_SECONDS_MAX):
        while not found:
            found += (await _next(source, stream))[0]
    assert found + (await _next(source, stream))[0] == 1
    await source.close()
    await client.close()


async def test_updates_of_documents_above_16_mb_together_come_with_their_documents(
    mongo_database: str,
) -> None:
    """They are looked up together as far as a reply holds them."""
    client: AsyncMongoClient[Any] = AsyncMongoClient(mongo_database)
    payments = client.get_default_database().payments
    wanted = [(number, "mended") for number in range(5)]
    for number, _ in wanted:
        await payments.insert_one({"_id": number, "filler": "x" * (LARGE_BYTES // 2)})
    source = MongoSource("property", mongo_database, ["payments"])
    (stream,) = await source.open()
    await source.seek(stream, None)
    await payments.update_many({}, {"$set": {"note": "mended"}})
    found: list[tuple[int, str]] = []
    async with asyncio.timeout(READ_SECONDS_MAX):
        while len(found) < len(wanted):
            async for item in source.changes(stream, wait_seconds=0.2):
                if isinstance(item, list):
                    found += [(change.id, change.after["note"]) for change in item]
    assert found == wanted
    await source.close()
    await client.close()
