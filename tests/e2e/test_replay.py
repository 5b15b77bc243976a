"""Replay: any part of a topic, at any time, beside the live consumer, heals and harms nothing."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from cdc.runtime.errors import SettingsError, Unfit
from consumers.replay import Bound, Replay
from tests.conftest import Addresses
from tests.consumer_world import (
    TRANSACTIONS,
    World,
    applied,
    consuming,
    deleted,
    make_world,
    payment,
    tombstone,
    until,
    version,
)

COUNTS = {
    "read": 0,
    "keys": 0,
    "inserted": 0,
    "updated": 0,
    "healed": 0,
    "unchanged": 0,
    "parked": 0,
}


@pytest.fixture
async def world(stack: Addresses, database: str, topic_prefix: str) -> AsyncIterator[World]:
    made = await make_world(stack.kafka_bootstrap_servers, database, topic_prefix)
    yield made
    await made.database.close()


async def replay(
    world: World,
    partition: int | None = None,
    start: Bound = None,
    stop: Bound = None,
    **options: Any,
) -> dict[str, int]:
    done = await Replay(world.settings, world.topic(TRANSACTIONS), **options).run(
        partition, start, stop
    )
    return done.document()


async def table(world: World) -> list[Any]:
    return await world.database.fetch(
        'SELECT id, amount, deleted, version, topic, partition, "offset", transaction_hash'
        " FROM accounting.transactions ORDER BY id"
    )


async def test_a_table_as_it_should_be_stays_as_it_is(world: World) -> None:
    """Replays of random parts, of any age, change nothing, not even when rows were applied."""
    for n in range(1, 6):
        await world.publish(*(payment(f"t{i}", n, amount=str(n)) for i in range(20)))
    await world.publish(deleted(TRANSACTIONS, "t3", 6), tombstone(TRANSACTIONS, "t3"))
    await applied(world)
    before, offsets = await table(world), await world.stored()
    stamps = await world.rows("accounting.transactions", "applied_at")
    for _ in range(5):
        start = random.randrange(60)
        done = await replay(world, random.choice([None, 0, 1]), start, start + 20)
        assert done == COUNTS | {
            "read": done["read"],
            "keys": done["keys"],
            "unchanged": done["keys"],
        }
    done = await replay(world)
    assert (done["keys"], done["unchanged"]) == (20, 20)
    assert await table(world) == before
    assert await world.stored() == offsets
    assert await world.rows("accounting.transactions", "applied_at") == stamps


async def damage(world: World) -> None:
    await world.database.execute("DELETE FROM accounting.transactions WHERE id = 't0'")
    await world.database.execute(
        "UPDATE accounting.transactions SET amount = 666, description = NULL WHERE id = 't1'"
    )
    await world.database.execute(
        "UPDATE accounting.transactions SET version = $1, amount = 1 WHERE id = 't2'", version(1)
    )
    await world.database.execute("UPDATE accounting.transactions SET deleted = false WHERE id='t3'")


async def test_damage_is_healed_and_a_dry_run_only_counts(world: World) -> None:
    """Missing, altered, old and revived rows: each is made right and counted as what it was."""
    for n in range(1, 4):
        await world.publish(*(payment(f"t{i}", n, amount=str(n)) for i in range(10)))
    await world.publish(deleted(TRANSACTIONS, "t3", 4))
    await applied(world)
    before = await table(world)
    await damage(world)
    damaged = await table(world)
    wanted = COUNTS | {
        "read": 31,
        "keys": 10,
        "inserted": 1,
        "updated": 1,
        "healed": 2,
        "unchanged": 6,
    }
    assert await replay(world, dry_run=True) == wanted
    assert await table(world) == damaged
    assert await replay(world) == wanted
    assert await table(world) == before
    assert await world.differing_totals() == []


async def test_a_part_chooses_keys_and_each_gets_its_highest_version(world: World) -> None:
    """Not the version in the part: an old part never takes a row back."""
    await world.publish(*(payment(f"t{i}", 1, amount="1") for i in range(10)))
    old = await world.stored()
    await world.publish(*(payment(f"t{i}", 2, amount="2") for i in range(10)))
    await world.publish(payment("later", 2, amount="2"))
    await applied(world)
    before = await table(world)
    await world.database.execute("DELETE FROM accounting.transactions")
    assert old == {}
    done = await replay(world, stop=3)
    assert done["keys"] == done["inserted"] > 0
    rows = await world.rows("accounting.transactions", "amount", "version")
    assert set(rows.values()) == {(Decimal(2), version(2))}
    assert "later" not in rows
    await replay(world, keys_max=3)
    assert await table(world) == before


async def test_what_lies_beyond_the_live_offset_is_not_touched(world: World) -> None:
    await world.publish(payment("t1", 1, amount="1"), payment("t2", 1))
    await applied(world)
    await world.publish(payment("t1", 2, amount="2"), payment("t3", 1))
    assert (await replay(world))["unchanged"] == 2
    assert (await world.rows("accounting.transactions", "amount"))["t1"] == (Decimal(1),)


async def test_a_part_by_time(world: World) -> None:
    await world.publish(payment("t1", 1))
    await applied(world)
    middle = datetime.now(UTC)
    await world.publish(payment("t2", 1))
    await applied(world)
    await world.database.execute("DELETE FROM accounting.transactions")
    assert (await replay(world, start=middle + timedelta(hours=1)))["keys"] == 0
    assert (await replay(world, start=middle))["inserted"] == 1
    assert set(await world.rows("accounting.transactions", "amount")) == {"t2"}
    assert (await replay(world, stop=middle))["inserted"] == 1
    assert set(await world.rows("accounting.transactions", "amount")) == {"t1", "t2"}


async def test_c24_beside_the_live_consumer(world: World) -> None:
    """Replays while events flow: the newest state stands in the end, sums all along."""
    async with consuming(world):
        for n in range(1, 8):
            await world.publish(
                *(payment(f"t{i}", n, amount=str(n), property_id=f"p{i % 3}") for i in range(30))
            )
            await replay(world)
            assert await world.differing_totals() == []
        await until(world.caught_up)
    rows = await world.rows("accounting.transactions", "amount")
    assert rows == {f"t{i}": (Decimal(7),) for i in range(30)}


async def test_what_cannot_be_applied_is_parked_once(world: World) -> None:
    bad = payment("bad", 1, date="2026-02-31")
    await world.publish(bad, payment("t1", 1), deleted(TRANSACTIONS, "t9", 1))
    await applied(world)
    for attempt in (1, 2, 3):
        assert await world.one("SELECT sum(attempts) FROM sync.dead_letters") == attempt
        done = await replay(world)
        assert done == COUNTS | {"read": 3, "keys": 3, "unchanged": 2, "parked": 1}
    assert await world.one("SELECT count(*) FROM sync.open_dead_letters") == 1
    await replay(world, dry_run=True)
    assert await world.one("SELECT sum(attempts) FROM sync.dead_letters") == 4


async def test_a_dry_run_counts_what_the_table_would_refuse(world: World) -> None:
    """It only compared, and called a row unchanged or inserted that a replay then parked."""
    huge = payment("huge", 1, amount=str(10**101))  # a number, but beyond the table's CHECK
    await world.publish(huge, payment("t1", 1), payment("t2", 1))
    await applied(world)
    await world.database.execute("DELETE FROM accounting.transactions WHERE id = 't2'")
    wanted = COUNTS | {"read": 3, "keys": 3, "inserted": 1, "unchanged": 1, "parked": 1}
    assert await replay(world, dry_run=True) == wanted
    assert [row["id"] for row in await table(world)] == ["t1"]
    assert await world.one("SELECT sum(attempts) FROM sync.dead_letters") == 1
    assert await replay(world) == wanted


async def test_wrong_topics_and_partitions_are_told(world: World) -> None:
    with pytest.raises(SettingsError, match="its topics"):
        Replay(world.settings, "nonsense")
    with pytest.raises(Unfit, match="partitions"):
        await replay(world, 77)
