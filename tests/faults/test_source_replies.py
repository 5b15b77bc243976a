"""What a real mongod puts into one reply, and what it leaves for the next."""

import asyncio
from typing import Any

from pymongo import AsyncMongoClient

from cdc.sources.mongo import MongoSource
from cdc.sources.protocol import Checkpoint

LARGE_BYTES = 9 * 1024 * 1024
READ_SECONDS_MAX = 60.0


async def replies(source: MongoSource, stream: Any) -> list[tuple[list[Any], Checkpoint]]:
    """Each reply's ids with its checkpoint, until one is empty that comes after others."""
    found: list[tuple[list[Any], Checkpoint]] = []
    async with asyncio.timeout(READ_SECONDS_MAX):
        while not found or found[-1][0] or not any(ids for ids, _ in found):
            ids: list[Any] = []
            async for item in source.changes(stream, wait_seconds=0.2):
                if isinstance(item, Checkpoint):
                    found.append((ids, item))
                elif isinstance(item, list):
                    ids += [change.id for change in item]
    return found


async def test_a_transaction_goes_on_in_the_next_reply_at_the_same_position(
    mongo_database: str,
) -> None:
    """Such a reply is short, not full, and yet not all there is at its position."""
    client: AsyncMongoClient[Any] = AsyncMongoClient(mongo_database)
    payments = client.get_default_database().payments
    await payments.insert_one({"_id": 0})
    source = MongoSource("property", mongo_database, ["payments"])
    (stream,) = await source.open()
    await source.seek(stream, None)
    async with client.start_session() as session, await session.start_transaction():
        for number in (1, 2, 3):
            filler = "" if number == 1 else "x" * LARGE_BYTES
            await payments.insert_one({"_id": number, "filler": filler}, session=session)
    told = [(ids, place) for ids, place in await replies(source, stream) if ids or place.drained]
    told = told[next(i for i, (ids, _) in enumerate(told) if ids) :]
    assert [ids for ids, _ in told] == [[1, 2], [3], []]
    assert not any(place.full for _, place in told)
    (_, first), (_, second), (_, last) = told
    assert first.position <= second.position <= last.position  # others write beside us
    assert first.complete < first.position
    assert last.complete == last.position
    await source.close()
    await client.close()


async def test_large_documents_are_read_in_parts(mongo_database: str) -> None:
    client: AsyncMongoClient[Any] = AsyncMongoClient(mongo_database)
    payments = client.get_default_database().payments
    for number in (5.0, "b", "c"):
        await payments.insert_one({"_id": number, "filler": "x" * LARGE_BYTES})
    source = MongoSource("property", mongo_database, ["payments"])
    (stream,) = await source.open()
    await source.seek(stream, None)
    left: Any = ("int:5", "absent", "b", "c")
    found: list[Any] = []
    parts = 0
    while left:
        page = await source.look_up(stream, "payments", left)
        found += [change.id for changes in page.changes for change in changes]
        assert page.next is None or len(page.next) < len(left)
        left, parts = page.next, parts + 1
    assert sorted(map(str, found)) == ["5.0", "b", "c"]
    assert parts == 3
    few = await source.look_up(stream, "payments", ("c",))
    assert few.next is None
    start: Any = None
    for wanted in ([5.0], ["b"], ["c"]):  # a page, too, ends where 16 MiB are reached
        page = await source.page(stream, "payments", start, 2000)
        assert [change.id for changes in page.changes for change in changes] == wanted
        start = page.next
    assert start is None or not list((await source.page(stream, "payments", start, 2000)).changes)
    await source.close()
    await client.close()
