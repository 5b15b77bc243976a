"""A position that is lost, refused, foreign or forged: a gap that is told, mended by reading."""

import json
import signal
from typing import Any
from zlib import crc32

import pytest
from aiokafka import AIOKafkaProducer
from bson import Decimal128, ObjectId

from tests.crash.nursery import Nursery
from tests.faults.system import System, quick
from tests.kafka_topics import delete_topic

FILLER_BYTES = 4_000_000
WATCHED = "collection is read whole"


def payment(**fields: Any) -> dict[str, Any]:
    return {"_id": ObjectId(), "amount": Decimal128("10.00"), "currency": "USD", **fields}


async def first_position(way: System) -> int:
    """Of what the oplog still knows."""
    return await _position(way, 1)


async def last_position(way: System) -> int:
    """Of what the oplog was told last."""
    return await _position(way, -1)


async def _position(way: System, order: int) -> int:
    found = await way.client.local["oplog.rs"].find_one(sort=[("$natural", order)])
    assert found is not None
    return int((found["ts"].time << 32) | found["ts"].inc)


async def roll_over(way: System, position: int) -> None:
    """Writes into another database until the oplog has forgotten the position."""

    async def rolled_over() -> bool:
        await way.client.elsewhere.fillers.insert_one({"filler": "x" * FILLER_BYTES})
        return await first_position(way) > position

    await way.until(rolled_over, "the oplog rolls over")  # behind a checkpoint


async def test_s3_oplog_rolled_over_while_stopped_is_a_gap_that_heals(own_way: System) -> None:
    """Nothing is skipped: what was written, changed and deleted meanwhile is read and repaired."""
    writer = own_way.writer(3)
    await writer.found(60)
    await own_way.running()
    await own_way.source.kill()
    await writer.steps(80)
    await own_way.history.catch_up()
    cursor = await own_way.cursor()
    assert cursor is not None
    await roll_over(own_way, own_way.history.newest)
    await own_way.history.reopen()
    own_way.source.start()
    await own_way.heard('"state":"gap"')
    await own_way.heard("the position is lost")
    await writer.steps(20)
    await own_way.require_right()
    assert own_way.told("whole read is done") >= 2


async def test_s4_a_quiet_source_in_a_busy_cluster_does_not_age(
    own_way: System, nursery: Nursery
) -> None:
    """The cursor moves on without events, so that a restart finds it in the oplog."""
    await own_way.mongo.payments.insert_one(payment())
    own_way.consumer.start()
    life = await quick(own_way, nursery)  # there the cursor is saved twice a second
    await own_way.all_published()
    before = await own_way.cursor()
    assert before is not None
    await roll_over(own_way, before["position"])
    await own_way.history.reopen()
    rolled = await last_position(own_way)  # what goes on to be forgotten lies below it

    async def moved() -> bool:
        now = await own_way.cursor()
        return now is not None and now["position"] > rolled and await own_way.published()

    await own_way.until(moved, "the cursor moves without events")
    life.signal(signal.SIGKILL)
    await life.ended
    reads = own_way.told(WATCHED)
    own_way.source.start()
    await own_way.mongo.payments.insert_one(payment())
    await own_way.require_right()
    assert own_way.told(WATCHED) == reads


async def put_cursor(way: System, value: bytes | None) -> None:
    """Over the stored one, under its key."""
    stored = [r for r in way.topics.of(way.cursors_topic) if r.value is not None][-1]
    producer = AIOKafkaProducer(bootstrap_servers=way.servers["KAFKA_BOOTSTRAP_SERVERS"])
    await producer.start()
    try:
        await producer.send_and_wait(
            way.cursors_topic, value, stored.key, partition=stored.partition
        )
    finally:
        await producer.stop()


def sealed(cursor: dict[str, Any]) -> bytes:
    """A cursor with its checksum."""
    body = json.dumps(cursor).encode()
    return b'{"cursor":%s,"crc32":%d}' % (body, crc32(body))


def with_token(data: str) -> Any:
    return lambda cursor: sealed({**cursor, "token": {"_data": data}})


FORGED = {
    "damaged": lambda cursor: sealed(cursor).replace(b'"epoch": 0', b'"epoch": 7'),
    "no cursor at all": lambda cursor: b"\xffnonsense",
    "a token that is no hex": with_token("82zz"),
    "a token that is cut": lambda cursor: with_token(cursor["token"]["_data"][:20])(cursor),
    "a token of another kind": with_token("9aff"),
    "an empty token": lambda cursor: sealed({**cursor, "token": {}}),
}


@pytest.mark.parametrize("how", FORGED)
async def test_s10_a_cursor_that_cannot_be_used_is_a_gap_that_heals(way: System, how: str) -> None:
    """Whatever the server, or the checksum, says of it: no crash loop, no skip, a whole read."""
    kept, gone = payment(), payment()
    await way.mongo.payments.insert_many([kept, gone])
    await way.running()
    assert await way.source.stop() == 0
    cursor = await way.cursor()
    assert cursor is not None
    await put_cursor(way, FORGED[how](cursor))
    await way.mongo.payments.delete_one({"_id": gone["_id"]})
    await way.mongo.payments.insert_one(payment())
    way.source.start()
    await way.until(lambda: _newer(way, cursor["position"]), "a cursor that is true")
    await way.require_right()
    live = await way.postgres.fetchval("SELECT count(*) FROM accounting.transactions_live")
    assert live == 2


async def _newer(way: System, position: int) -> bool:
    try:
        cursor = await way.cursor()
    except (ValueError, KeyError):
        return False  # the forged one is still the last
    return cursor is not None and cursor["position"] > position


async def test_s9_a_cursor_of_another_database_is_refused_until_a_person_accepts(
    way: System,
) -> None:
    """Two databases are never mixed by mistake: exit 3 with what differs, and the way out."""
    await way.mongo.payments.insert_many([payment() for _ in range(4)])
    await way.running()
    await way.source.stop()
    other = f"{way.mongo_name}-other"
    way.configure(uri=way.mongo_uri.replace(way.mongo_name, other))
    await way.client[other].payments.insert_many([payment(), payment()])
    try:
        await way.until(way.settled, "its last cursor is shown")  # a moment after its end
        before = len(way.topics.records)
        way.source.start()
        assert await way.source.ended() == 3
        assert way.told(f"database was {way.mongo_name}, is {other}") >= 1
        assert way.told("cdc resync property --accept") >= 1
        await way.until(way.settled, "nothing is open")
        assert len(way.topics.records) == before
        await way.command("resync", way.name, "--accept")
        way.source.start()
        await way.until(way.answered, "the other database is accepted")
        await way.until(lambda: _live(way, 2), "its rows, and no others")
    finally:
        await way.client.drop_database(other)


async def _live(way: System, count: int) -> bool:
    query = "SELECT count(*) FROM accounting.transactions_live"
    return bool(await way.postgres.fetchval(query) == count)


async def test_a_topic_made_anew_is_filled_anew(way: System) -> None:
    """Its id tells: what lay on it is published again, and the consumer starts it over."""
    await way.mongo.payments.insert_many([payment() for _ in range(20)])
    await way.running()
    await way.source.stop()
    await way.consumer.stop()
    await delete_topic(way.kafka, f"{way.prefix}.accounting.transactions")
    await way.remake_topics()
    way.source.start()
    way.consumer.start()
    await way.heard("reaches a topic that was made anew")
    await way.mongo.payments.insert_one(payment())
    await way.require_right()
    assert way.told("recreated", way.consumer.log) >= 1


async def test_a_delete_that_was_lost_with_its_topic_is_made_up_for_by_rebuilding_the_table(
    way: System,
) -> None:
    """Nobody knows of it any more: told, with the way out that the README shows."""
    gone, *kept = [payment(propertyId="p") for _ in range(9)]
    await way.mongo.payments.insert_many([gone, *kept])
    await way.running()
    await way.consumer.stop()
    await way.mongo.payments.delete_one({"_id": gone["_id"]})
    await way.all_published()
    await way.source.stop()
    topic = f"{way.prefix}.accounting.transactions"
    await delete_topic(way.kafka, topic)
    await way.remake_topics()
    await way.mongo.users.insert_one({"name": "Ann"})  # the stored cursor, all read, is below it
    await way.running()
    await way.heard("TRUNCATE the table", log=way.consumer.log)
    assert await _live(way, len(kept) + 1)
    assert await way.consumer.stop() == 0
    await way.postgres.execute("TRUNCATE accounting.transactions")
    await way.postgres.execute("DELETE FROM sync.offsets WHERE topic = $1", topic)
    way.consumer.start()
    await way.until(way.applied_once, "the partitions are read from their start")
    await way.require_right()
    assert await _live(way, len(kept))


async def test_without_its_cursor_a_source_reads_whole_above_what_it_published(way: System) -> None:
    """The cursors topic is gone: versions still grow, deletes missed meanwhile are made up for."""
    gone = payment()
    await way.mongo.payments.insert_many([gone, *(payment() for _ in range(20))])
    await way.running()
    await way.source.stop()
    await delete_topic(way.kafka, way.cursors_topic)
    await way.mongo.payments.delete_one({"_id": gone["_id"]})
    await way.remake_topics()
    way.source.start()
    await way.require_right()
    assert await _live(way, 20)


MAPPED = """
[[sources.property.mappings]]
collection = "payments"
entity = "accounting.transactions"
[sources.property.mappings.fields]
id = "_id"
amount = {{ path = "amount", type = "decimal" }}
currency = "currency"
description = {{ const = "{description}" }}
type = {{ const = "income" }}
"""


async def test_an_edited_mapping_and_collections_taken_away_are_answered_by_reading(
    way: System,
) -> None:
    """Noticed at the start, told, and every row is as the mapping now says."""
    await way.mongo.payments.insert_many([payment() for _ in range(20)])
    await way.mongo.users.insert_one({"name": "Ann"})
    await way.running()
    for description in ("first", "second"):
        await way.source.stop()
        way.configure(MAPPED.format(description=description))
        way.source.start()

        async def mapped(wanted: str = description) -> bool:
            query = "SELECT count(*) FROM accounting.transactions_live WHERE description = $1"
            return bool(await way.postgres.fetchval(query, wanted) == 20)

        await way.until(mapped, f"all rows are mapped to {description}")
    assert way.told("was taken away") >= 1
    assert way.told("was changed") >= 1
    await way.until(lambda: _no_owners(way), "the owners of a collection taken away are deleted")


async def _no_owners(way: System) -> bool:
    return not await way.postgres.fetchval("SELECT count(*) FROM accounting.owners_live")
