"""Kafka to Postgres on real servers: what is published becomes rows, once, in order, guarded.

Names in brackets are rows of the fault matrix.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest

from consumers.metrics import NoMetrics
from schemas.envelope import encode_key
from tests.conftest import Addresses
from tests.consumer_world import (
    OWNERS,
    PROPERTIES,
    TRANSACTIONS,
    Told,
    World,
    applied,
    consuming,
    deleted,
    hash_of,
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


class Counts(NoMetrics):
    """Rows by entity and outcome."""

    def __init__(self) -> None:
        self.by_outcome: dict[str, int] = {}
        self.gaps: list[str] = []

    def rows(self, entity: str, outcome: str, count: int) -> None:
        self.by_outcome[outcome] = self.by_outcome.get(outcome, 0) + count

    def gap(self, target: str, topic: str, reason: str) -> None:
        self.gaps.append(reason)


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


@pytest.mark.parametrize("count", [1, 300])
async def test_text_that_postgres_cannot_hold_is_replaced(world: World, count: int) -> None:
    await world.publish(*(payment(f"t{i}", 1, description="a\0b") for i in range(count)))
    await applied(world)
    rows = await world.rows("accounting.transactions", "description")
    assert rows == {f"t{i}": ("a\ufffdb",) for i in range(count)}


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


async def test_versions_of_a_key_are_folded_in_one_poll(world: World) -> None:
    """(C16) A hot key: the highest version stands, each event is counted once."""
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


async def test_aborted_transactions_leave_no_trace(world: World) -> None:
    """(C17) and the stored offsets reach the end all the same."""
    await world.publish(payment("t1", 1))
    await world.publish(payment("t2", 1), abort=True)
    await applied(world)
    assert set(await world.rows("accounting.transactions", "amount")) == {"t1"}


async def test_broken_records_are_parked_and_their_neighbours_applied(world: World) -> None:
    """(C9) Each with its reason, in the transaction of its offset; never twice."""
    good = payment("good", 1)
    key = encode_key("acme", "property", "bad")
    value = orjson.loads(good.value or b"")

    def broken(**changes: Any) -> Told:
        return Told(TRANSACTIONS, key, orjson.dumps(value | changes), good.headers)

    source = value["source"]
    records = {
        "not an event": [
            Told(TRANSACTIONS, key, b"\xff\x00{", ()),
            broken(after=value["after"] | {"amount": 10}),
            broken(op="x"),
            broken(op="d"),
            broken(after=None),
        ],
        "version": [broken(source=source | {"change_version": "00"})],
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


@pytest.mark.parametrize("count", [3, 1000])
async def test_a_row_that_postgres_refuses_is_isolated(world: World, count: int) -> None:
    """(C10) Overflow, a date that is none, NaN, an id too long: parked; all others commit."""
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
    await applied(world)
    rows = await world.database.fetch(
        "SELECT stage, document_id, path, reason, collection, version, attempts, value"
        " FROM sync.open_dead_letters ORDER BY stage DESC"
    )
    assert [tuple(row) for row in rows] == [
        ("map", "d1", "date", "missing", "payments", version(4), 2, None),
        ("apply", None, None, "not a dead letter", None, b"", 1, b'{"nonsense":true}'),
    ]
    await world.publish(payment("d1/0", 4))
    await applied(world)
    assert await world.one("SELECT count(*) FROM sync.open_dead_letters WHERE stage = 'map'") == 1
    await world.publish(payment("d1/1", 5))
    await applied(world)
    assert await world.one("SELECT count(*) FROM sync.open_dead_letters WHERE stage = 'map'") == 0


async def test_two_consumers_share_and_lose_nothing(world: World) -> None:
    """(C3) Members come and go while events flow: every row right, every balance too."""
    written = 0

    async def write() -> None:
        nonlocal written
        for n in range(1, 31):
            await world.publish(
                *(
                    payment(f"t{i}", n, property_id=f"p{(i + n) % 5}", amount=str(n))
                    for i in range(40)
                )
            )
            written = n

    writing = asyncio.create_task(write())
    try:
        async with consuming(world):
            await until(lambda: _true(written >= 5))
            async with consuming(world) as second:
                await until(lambda: _true(second.progress.events_total > 0))
            await until(lambda: _true(written >= 15))
            async with consuming(world):
                await until(lambda: _true(writing.done()))
                await until(world.caught_up)
    finally:
        await writing
    rows = await world.rows("accounting.transactions", "amount", "property_id")
    assert rows == {f"t{i}": (Decimal(30), f"p{(i + 30) % 5}") for i in range(40)}
    assert await world.differing_totals() == []


async def _true(value: bool) -> bool:
    return value


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
    state = await world.one("SELECT state->>'state' FROM sync.observed")
    assert state == "stopped"
