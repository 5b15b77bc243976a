"""Records and rows that cannot be applied: parked, and their neighbours applied."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from cdc.runtime.kafka_records import records, spans
from schemas.envelope import encode_key
from schemas.topics import partition_of
from tests.conftest import Addresses
from tests.consumer_world import (
    PARTITIONS,
    TRANSACTIONS,
    Counts,
    Told,
    World,
    applied,
    make_world,
    payment,
    version,
)


@pytest.fixture
async def world(stack: Addresses, database: str, topic_prefix: str) -> AsyncIterator[World]:
    made = await make_world(stack.kafka_bootstrap_servers, database, topic_prefix)
    yield made
    await made.database.close()


@pytest.mark.parametrize("count", [1, 300])
async def test_text_that_postgres_cannot_hold_is_replaced(world: World, count: int) -> None:
    await world.publish(*(payment(f"t{i}", 1, description="a\0b") for i in range(count)))
    await applied(world)
    rows = await world.rows("accounting.transactions", "description")
    assert rows == {f"t{i}": ("a\ufffdb",) for i in range(count)}


async def test_c9_d2_d11_broken_records_are_parked_and_their_neighbours_applied(
    world: World,
) -> None:
    """Each with its reason, in the transaction of its offset; never twice."""
    good = payment("good", 1)
    key = encode_key("acme", "property", "bad")
    value = orjson.loads(good.value or b"")

    def broken(**changes: Any) -> Told:
        return Told(TRANSACTIONS, key, orjson.dumps(value | changes), good.headers)

    source = value["source"]
    text = orjson.dumps(value | {"after": value["after"] | {"description": "mark"}})
    deep = b"[" * 100_000 + b"]" * 100_000
    records = {
        "not an event": [
            Told(TRANSACTIONS, key, b"\xff\x00{", ()),
            broken(after=value["after"] | {"amount": 10}),
            broken(op="x"),
            broken(op="d"),
            broken(after=None),
            broken(source=source | {"change_version": "00"}),
            Told(TRANSACTIONS, key, text.replace(b'"mark"', b'"\\ud800"'), good.headers),
            Told(TRANSACTIONS, key, text.replace(b'"mark"', deep), good.headers),
        ],
        "schema": [
            Told(TRANSACTIONS, key, good.value, (("schema", b"accounting.transactions/9"),))
        ],
        "hash": [Told(TRANSACTIONS, key, good.value, (("transaction_hash", b"xyz"),))],
        "too large": [broken(after=value["after"] | {"description": "x" * 1_100_000})],
        "key": [Told(TRANSACTIONS, b'{"id": 1}', good.value, ())],
    }
    for reason, bad in records.items():
        for each in bad:
            await world.publish(each, good)
            await applied(world)
            found = await world.database.fetch(
                "SELECT reason, value, stage, entity FROM sync.dead_letters"
            )
            assert [tuple(row) for row in found] == [(reason, each.value, "apply", TRANSACTIONS)], (
                reason
            )
            await applied(world)
            assert await world.one("SELECT attempts FROM sync.dead_letters") == 1
            await world.database.execute("TRUNCATE sync.dead_letters")
    assert set(await world.rows("accounting.transactions", "amount")) == {"good"}


class NoText(str):
    """The name of a header that is no UTF-8 on the wire."""

    def encode(self, *_: str) -> bytes:
        return b"\xff\xfe"


async def publish_foreign(world: World, *events: Told, codec: int) -> None:
    """In one batch, as a client writes it that does not ask for UTF-8 in headers' names."""
    producer = AIOKafkaProducer(**world.settings.kafka.client_options())
    await producer.start()
    try:
        batch = producer.create_batch()
        batch._builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, 0, 1_000_000)
        for event in events:
            batch.append(timestamp=1, key=event.key, value=event.value, headers=list(event.headers))
        topic, partition = world.topic(TRANSACTIONS), partition_of(events[0].key, PARTITIONS)
        await (await producer.send_batch(batch, topic, partition=partition))
    finally:
        await producer.stop()


@pytest.mark.parametrize("codec", [0, 4], ids=["plain", "zstd"])
async def test_c9_a_header_whose_name_is_no_text_holds_nobody_up(world: World, codec: int) -> None:
    """The client's parser raised in every poll that met it: the consumer ended, and each start."""
    header = ((NoText("?"), b"1"),)
    good = [payment(f"t{number}", 1) for number in range(4)]
    foreign = Told(TRANSACTIONS, encode_key("acme", "property", "foreign"), b"?", header)
    marked = replace(good[2], headers=(*good[2].headers, *header))
    await world.publish(payment("before", 1))
    await publish_foreign(world, good[0], foreign, good[1], marked, foreign, good[3], codec=codec)
    await world.publish(payment("after", 1))
    await applied(world)
    assert set(await world.amounts()) == {"before", "t0", "t1", "t2", "t3", "after"}
    letters = await world.database.fetch("SELECT reason, headers, attempts FROM sync.dead_letters")
    assert [(row[0], orjson.loads(row[1]), row[2]) for row in letters] == [
        ("not an event", {"\ufffd\ufffd": "1"}, 2)
    ]
    topic = world.topic(TRANSACTIONS)
    read = [
        record.key
        for place, (start, end) in (await spans(world.settings.kafka, topic)).items()
        async for found in records(world.settings.kafka, topic, place, start, end)
        for record in found
    ]
    assert len(read) == 8, "whoever else reads the topic: a whole read's search, a replay"


@pytest.mark.parametrize("count", [3, 1000])
async def test_c10_a_row_that_postgres_refuses_is_isolated(world: World, count: int) -> None:
    """Overflow, a date that is none, NaN, an id too long: parked; all others commit."""
    bad = {
        "overflow": {"amount": "9" * 131_073},
        "nan": {"amount": "NaN"},
        "date": {"date": "2026-02-31"},
        "type": {"type": "gift"},
    }
    events = [payment(f"t{i:04}", 1) for i in range(count)]
    for name, change in bad.items():
        events.insert(random.randrange(len(events)), payment(name, 1, **change))
    long_id = "".join(random.choices("abcdefghij0123456789", k=20_000))
    events.append(payment(long_id, 1))
    counts = Counts()
    await world.publish(*events)
    await applied(world, metrics=counts)
    assert await world.one("SELECT count(*) FROM accounting.transactions") == count
    letters = await world.database.fetch(
        "SELECT document_id, reason, version FROM sync.open_dead_letters"
    )
    reasons = {row["document_id"]: row["reason"] for row in letters}
    assert set(reasons) == {*bad, long_id}
    assert reasons["date"].startswith("22008")
    assert reasons["nan"].startswith("23514")
    assert all(row["version"] == version(1) for row in letters)
    assert counts.by_outcome == {"applied": count, "parked": len(bad) + 1}
    assert await world.differing_totals() == []


async def test_a_later_event_closes_a_dead_letter(world: World) -> None:
    await world.publish(payment("t1", 1, date="2026-02-31"))
    await applied(world)
    assert await world.one("SELECT count(*) FROM sync.open_dead_letters") == 1
    await world.publish(payment("t1", 2))
    await applied(world)
    assert await world.one("SELECT count(*) FROM sync.open_dead_letters") == 0
    assert await world.one("SELECT count(*) FROM sync.dead_letters") == 1


async def test_what_a_source_could_not_map_arrives(world: World) -> None:
    letter = {
        "book": "acme",
        "source": "property",
        "mapping": "payments",
        "entity": TRANSACTIONS,
        "stage": "map",
        "document_id": "d1",
        "row_id": None,
        "path": "amount",
        "reason": "missing",
        "version": version(3).hex(),
        "collection": "payments",
        "ts_ms": 1,
    }
    await world.publish_letter(letter)
    await world.publish_letter(letter | {"path": "date", "version": version(4).hex()})
    await world.publish_letter({"nonsense": True})
    await world.publish_letter(letter | {"stage": "other"})
    await world.publish_letter(letter | {"entity": "budget.payees"})  # another target's
    await applied(world)
    rows = await world.database.fetch(
        "SELECT stage, document_id, path, reason, collection, version, attempts, value IS NULL"
        " FROM sync.open_dead_letters ORDER BY stage DESC"
    )
    unreadable = ("apply", None, None, "not a dead letter", None, b"", 1, False)
    assert [tuple(row) for row in rows] == [
        ("map", "d1", "date", "missing", "payments", version(4), 2, True),
        unreadable,
        unreadable,
    ]
    await world.publish(payment("d1/0", 4))
    await applied(world)
    assert await world.one("SELECT count(*) FROM sync.open_dead_letters WHERE stage = 'map'") == 1
    await world.publish(payment("d1/1", 5))
    await applied(world)
    assert await world.one("SELECT count(*) FROM sync.open_dead_letters WHERE stage = 'map'") == 0
