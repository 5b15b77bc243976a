"""The change stream on a real mongod: what it may bring, and what becomes of it."""

import asyncio
import itertools
import random
import time
from typing import Any

import pytest
from bson import Decimal128, ObjectId, encode
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient

from cdc.sources.mongo import MongoSource
from cdc.sources.protocol import Checkpoint, Notice, Stream
from tests.faults.system import System

LARGE_BYTES = 9 * 1024 * 1024
WRITTEN, CANCELLED, READ_SECONDS_MAX = 400, 20, 60.0
IMAGES = {"changeStreamPreAndPostImages": {"enabled": True}}


def payment(**fields: Any) -> dict[str, Any]:
    return {"_id": ObjectId(), "amount": Decimal128("10.00"), "currency": "USD", **fields}


async def test_s6_an_event_above_16_mb_is_passed_and_its_row_is_right(way: System) -> None:
    """The server refuses such an event with everything behind it; nothing of it is lost."""
    await way.mongo.create_collection("payments", **IMAGES)
    large = payment(filler="x" * LARGE_BYTES)
    await way.mongo.payments.insert_one(large)
    await way.running()
    reads = way.told("read whole")
    before, after = payment(reference="before"), payment(reference="after")
    await way.mongo.payments.insert_one(before)
    changed = {**large, "amount": Decimal128("11.00"), "filler": "y" * LARGE_BYTES}
    await way.mongo.payments.replace_one({"_id": large["_id"]}, changed)
    await way.mongo.payments.insert_one(after)
    await way.require_right()
    rows = (await way.seen()).rows["transactions"]
    assert {str(rows[str(each["_id"])]["amount"]) for each in (large, before, after)} == {
        "11.00",
        "10.00",
    }
    assert way.told("read whole") == reads  # the first snapshot's, and no more


async def test_s8_values_that_do_not_decode_become_dead_letters_and_the_stream_goes_on(
    way: System,
) -> None:
    """Unmapped they are of no consequence; mapped they park their own document alone."""
    beyond, invalid = DatetimeMS(569_000_000_000_000), invalid_utf8()
    await way.mongo.payments.insert_many([payment(date=beyond), payment(private=beyond)])
    await way.mongo.payments.insert_one(invalid)
    await way.running()
    await way.mongo.payments.insert_many([payment(date=beyond), payment(private=beyond)])
    await way.mongo.payments.insert_one(invalid_utf8())
    last = payment(reference="last")
    await way.mongo.payments.insert_one(last)
    await way.quiet()
    rows = await way.postgres.fetch("SELECT id FROM accounting.transactions_live")
    letters = await way.postgres.fetch("SELECT path, reason FROM sync.dead_letters")
    assert len(rows) == 3
    assert str(last["_id"]) in {row["id"] for row in rows}
    assert sorted(letter["path"] for letter in letters) == ["date", "date"] + ["description"] * 2


def invalid_utf8() -> Any:
    """A payment whose description is no text."""
    whole = encode(payment(description="broken-here"))
    return RawBSONDocument(whole.replace(b"broken-here", b"broken\xff\xfe---"))


async def test_s11_every_order_of_writes_in_one_transaction_ends_right(way: System) -> None:
    """They share one cluster time: the ordinal tells them apart."""
    known = [payment(reference="known") for _ in range(200)]
    await way.mongo.payments.insert_many(known)
    await way.running()
    ways = [each for length in (2, 3, 4) for each in itertools.product("iud", repeat=length)]
    for word in filter(possible, ways):
        await transaction(way, word, known.pop())
    await way.require_right()


def possible(word: tuple[str, ...]) -> bool:
    """Whether a document that is there may be written like this."""
    there = True
    for letter in word:
        if (letter == "i") is there:
            return False
        there = letter != "d"
    return True


async def transaction(way: System, word: tuple[str, ...], document: dict[str, Any]) -> None:
    """The word's writes on one document, a neighbour's between them, all in one transaction."""
    payments, where = way.mongo.payments, {"_id": document["_id"]}
    async with way.client.start_session() as session, await session.start_transaction():
        for number, letter in enumerate(word):
            content = {**document, "amount": Decimal128(f"{number}.50"), "reference": "".join(word)}
            if letter == "i":
                await payments.insert_one(content, session=session)
            elif letter == "u":
                await payments.update_one(
                    where, {"$set": {"amount": content["amount"]}}, session=session
                )
            else:
                await payments.delete_one(where, session=session)
            await payments.insert_one(payment(), session=session)


async def test_s12_an_update_whose_document_is_gone_waits_for_the_delete(way: System) -> None:
    """A look-up that finds nothing, or something newer, takes no row back and stops nobody."""
    await way.running()
    await way.source.kill()
    gone, kept = payment(), payment()
    await way.mongo.payments.insert_many([gone, kept])
    for number in range(20):
        amount = {"$set": {"amount": Decimal128(f"{number}.01")}}
        await way.mongo.payments.update_many({}, amount)
    await way.mongo.payments.delete_one({"_id": gone["_id"]})
    way.source.start()
    await way.require_right()
    rows = (await way.seen()).rows["transactions"]
    assert str(rows[str(kept["_id"])]["amount"]) == "19.01"
    assert rows[str(gone["_id"])]["deleted"]


async def test_s5_a_dropped_collection_deletes_its_rows_and_a_new_one_is_followed(
    way: System,
) -> None:
    """A drop is the person's word: rows go, also many; what comes under that name later, comes."""
    many = [payment() for _ in range(1500)]
    await way.mongo.payments.insert_many(many)
    await way.mongo.users.insert_one({"name": "stays"})
    await way.running()
    await way.mongo.payments.drop()
    await way.require_right()
    assert await way.postgres.fetchval("SELECT count(*) FROM accounting.transactions_live") == 0
    assert way.told('"deleted":1500') >= 1
    await way.mongo.payments.insert_many([many[0], payment()])
    await way.require_right()
    assert await way.postgres.fetchval("SELECT count(*) FROM accounting.transactions_live") == 2


async def test_s5_renamed_away_is_dropped_and_renamed_onto_is_read_whole(way: System) -> None:
    """What stands under the mapped name afterwards is what the tables hold."""
    await way.mongo.payments.insert_many([payment() for _ in range(30)])
    await way.mongo.staged.insert_many([payment() for _ in range(20)])
    await way.running()
    await way.mongo.payments.rename("old_payments")
    await way.require_right()
    assert await way.postgres.fetchval("SELECT count(*) FROM accounting.transactions_live") == 0
    await way.mongo.payments.insert_many([payment() for _ in range(10)])
    await way.mongo.staged.rename("payments", dropTarget=True)
    await way.require_right()
    assert await way.postgres.fetchval("SELECT count(*) FROM accounting.transactions_live") == 20


async def test_s5_a_dropped_database_and_its_invalidated_stream_are_survived(way: System) -> None:
    """The server ends the stream for good; it is opened behind that, and goes on."""
    await way.mongo.payments.insert_many([payment() for _ in range(10)])
    await way.running()
    await way.client.drop_database(way.mongo_name)
    await way.heard("invalidate seen in the stream")
    await way.mongo.payments.insert_many([payment() for _ in range(5)])
    await way.require_right()
    assert await way.postgres.fetchval("SELECT count(*) FROM accounting.transactions_live") == 5


@pytest.mark.parametrize("how", ["switched off", "expired"])
async def test_s18_images_missing_where_they_are_needed_ask_for_a_person(
    way: System, how: str
) -> None:
    """Without the old document a row's leaving cannot be seen: no guess, but a gap that is told."""
    way.configure(WHERE)
    await way.mongo.create_collection("payments", **IMAGES)
    mine = [payment(organisation="acme") for _ in range(5)]
    await way.mongo.payments.insert_many([*mine, payment(organisation="other")])
    await way.running()
    leaves = {"$set": {"organisation": "other"}}
    if how == "expired":
        await way.source.stop()
        await way.mongo.payments.update_one({"_id": mine[0]["_id"]}, leaves)
        await _forget_images(way)
        way.source.start()
    else:
        off = {"changeStreamPreAndPostImages": {"enabled": False}}
        await way.mongo.command({"collMod": "payments", **off})
        await way.mongo.payments.update_one({"_id": mine[0]["_id"]}, leaves)
    await way.heard('"state":"gap"')
    await way.mongo.command({"collMod": "payments", **IMAGES})
    await way.command("resync", way.name)
    await way.until(way.answered, "the resync is done")
    await way.quiet()
    live = await way.postgres.fetch("SELECT id FROM accounting.transactions_live")
    assert {row["id"] for row in live} == {str(each["_id"]) for each in mine[1:]}


async def _forget_images(way: System) -> None:
    """Of our collection alone: other tests have theirs on the same server."""
    (found,) = [
        each async for each in await way.mongo.list_collections(filter={"name": "payments"})
    ]
    ours = {"_id.nsUUID": found["info"]["uuid"]}
    forgotten = await way.client.config["system.preimages"].delete_many(ours)
    assert forgotten.deleted_count


WHERE = """
[[sources.property.mappings]]
collection = "payments"
entity = "accounting.transactions"
where = { organisation = "acme" }
[sources.property.mappings.fields]
id = "_id"
amount = { path = "amount", type = "decimal" }
currency = "currency"
type = { const = "income" }
"""


async def test_s15_a_read_that_is_cancelled_at_any_moment_loses_no_event(
    mongo_database: str,
) -> None:
    """Of what was not handed over nothing is passed; the position tells it, and no client's own."""
    source, chance = MongoSource("property", mongo_database, ["payments"]), random.Random(15)
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_database)
    (stream,) = await source.open()
    place = await source.seek(stream, None)
    enough = asyncio.Event()
    writing = asyncio.create_task(_write(client.get_default_database().payments, enough))
    seen: list[Any] = []
    cancelled, patience_seconds = 0, 0.01
    deadline = time.monotonic() + READ_SECONDS_MAX
    try:
        while not writing.done() or len(seen) < writing.result():
            assert time.monotonic() < deadline, f"only {len(seen)} of {WRITTEN}, or no cancel"
            reading = asyncio.create_task(_one_reply(source, stream))
            await asyncio.wait({reading}, timeout=chance.random() * patience_seconds)
            reading.cancel()
            try:
                ids, place = await reading
            except asyncio.CancelledError:
                cancelled += 1
                patience_seconds *= 1.2  # as long as a reply takes on this machine,
                await source.seek(stream, place)
            else:
                patience_seconds /= 1.2  # and no longer: about every second one is cancelled
                seen += ids
            if len(seen) >= WRITTEN and cancelled > CANCELLED:
                enough.set()
        assert seen == list(range(len(seen)))
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await source.close()
        await client.close()


async def _write(payments: Any, enough: asyncio.Event) -> int:
    """Until it is enough; how many there are then."""
    for number in itertools.count():
        if enough.is_set():
            return number
        await payments.insert_one({"_id": number})
    raise AssertionError("numbers do not end")


async def _one_reply(source: MongoSource, stream: Stream) -> tuple[list[Any], Checkpoint]:
    ids: list[Any] = []
    async for item in source.changes(stream, wait_seconds=0.05):
        if isinstance(item, Checkpoint):
            return ids, item
        assert not isinstance(item, Notice)
        ids += [change.id for change in item]
    raise AssertionError("a reply without a checkpoint")
