"""The budget's events through a real Kafka into a real Postgres: every column as it was told."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from cdc.operation.integration import unknown_tombstones
from cdc.runtime.errors import Unavailable, Unfit
from cdc.runtime.kafka_admin import TopicWish, create_topics
from cdc.runtime.kafka_records import spans
from schemas.entities import ENTITIES, Kind, entity
from schemas.topics import entity_topic
from tests.conftest import Addresses
from tests.consumer_world import PARTITIONS, Told, World, applied, make_world, told, until
from tests.followed import PREFIX, Followed
from tests.plaid_world import world as plaid_world
from tests.ynab_world import world as ynab_world

BUDGET = [name for name in ENTITIES if name.startswith("budget.")]


@pytest.fixture
async def world(stack: Addresses, database: str, topic_prefix: str) -> AsyncIterator[World]:
    made = await make_world(stack.kafka_bootstrap_servers, database, topic_prefix)
    topics = [entity_topic(topic_prefix, name, PARTITIONS) for name in BUDGET]
    wishes = [TopicWish(each.name, each.partitions, 1, each.config) for each in topics]
    await create_topics(made.settings.kafka, wishes)
    made.settings = replace(made.settings, entities=dict.fromkeys(BUDGET, PARTITIONS))

    async def led() -> bool:
        try:
            for topic in topics:
                await spans(made.settings.kafka, topic.name)
        except (Unavailable, Unfit):
            return False
        return True

    await until(led)  # a topic just made has no leader at first
    yield made
    await made.database.close()


async def carry_over(followed: Followed, world: World, done: dict[str, int]) -> None:
    """What is new on the topics in memory, to the real ones, and into the tables."""
    events: list[Told] = []
    for (topic, partition), records in followed.broker.log.items():
        place = f"{topic}/{partition}"
        if topic != followed.letters:
            name = topic.removeprefix(f"{PREFIX}.")
            fresh = records[done.get(place, 0) :]
            events += [Told(name, each.key, each.value, tuple(each.headers)) for each in fresh]
            done[place] = len(records)
    await world.publish(*events)
    await applied(world)


async def check(followed: Followed, world: World) -> int:
    """Live rows equal the fold of the topics, column by column; how many there are."""
    total = 0
    for name in followed.entities:
        rows = await world.database.fetch(f"SELECT * FROM {name} WHERE NOT deleted")
        found = {row["id"]: dict(row) for row in rows}
        truth = followed.rows(name)
        assert found.keys() == truth.keys(), name
        for key, row in truth.items():
            for column in entity(name).columns:
                wanted = _value(column.kind, row[column.name])
                assert found[key][column.name] == wanted, f"{name} {key} {column.name}"
        total += len(rows)
    return total


def _value(kind: Kind, told: Any) -> Any:
    """A value as asyncpg gives it (JSON as text, normalised by Postgres)."""
    if told is None:
        return None
    if kind is Kind.DECIMAL:
        return Decimal(told)
    if kind is Kind.DATE:
        return date.fromisoformat(told)
    if kind is Kind.TIMESTAMP:
        return datetime.fromisoformat(told)
    return _Json(told) if kind is Kind.JSON else told


class _Json:
    """Equal to any text of the same JSON."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and json.loads(other) == self._value

    __hash__ = None  # type: ignore[assignment]


async def test_ynab_in_the_tables(world: World) -> None:
    async with ynab_world() as it:
        done: dict[str, int] = {}
        plan = it.sim.plan()
        split = plan.add_transaction(
            "Visa", -3_000, lines=[{"amount": -1_000}, {"amount": -2_000, "category": "Pets"}]
        )
        plan.move_money("Pets", "Groceries", 1_000)
        plan.add_payee_location("Transfer : Visa", "52.5200", "13.4050")
        await it.settled()
        await carry_over(it.followed, world, done)
        assert await check(it.followed, world) > 300
        plan.edit_transaction(split, lines=[{"amount": -3_000, "category": "Pets"}])
        plan.delete_category("Hobbies")
        await it.settled()
        await carry_over(it.followed, world, done)
        await check(it.followed, world)
        await _splits_add_up(world)
        hashes = await world.one("SELECT count(DISTINCT transaction_hash) FROM budget.transactions")
        assert hashes == await world.one("SELECT count(*) FROM budget.transactions")


async def _splits_add_up(world: World) -> None:
    assert not await world.database.fetch(
        "SELECT t.id FROM budget.transactions_live t JOIN budget.subtransactions_live s"
        " ON s.book = t.book AND s.source = t.source AND s.transaction_id = t.id"
        " GROUP BY t.id, t.amount HAVING sum(s.amount) <> t.amount"
    )


async def test_a_tombstone_of_an_unknown_id_is_shown_and_stops_nothing(world: World) -> None:
    """Made and deleted between two polls: YNAB tells its end, never its content."""
    async with ynab_world() as it:
        done: dict[str, int] = {}
        plan = it.sim.plan()
        split = plan.add_transaction("Visa", -3_000, lines=[{"amount": -1_000}, {"amount": -2_000}])
        known = plan.add_transaction("Visa", -3_000)
        await it.settled()
        await carry_over(it.followed, world, done)
        plan.edit_transaction(split, lines=[{"amount": -3_000}])
        plan.delete_transaction(known)
        plan.delete_category("Hobbies")
        await it.settled()
        await carry_over(it.followed, world, done)
        assert await unknown_tombstones(world.database) == []
        gone = plan.add_transaction("Visa", -4_000, category="Pets")
        plan.delete_transaction(gone)
        plan.add_transaction("Visa", -5_000, category="Pets")
        await it.settled()
        await carry_over(it.followed, world, done)
        await check(it.followed, world)
        (shown,) = await unknown_tombstones(world.database)
        assert (shown["source"], shown["endpoint"]) == ("fake", "budget.transactions")
        assert (shown["category"], shown["objects"]) == ("unknown_tombstone", 1)
        assert await world.one("SELECT id FROM budget.unknown_tombstones") == gone
        assert it.integration.open == set()


async def test_plaid_in_the_tables(world: World) -> None:
    async with plaid_world() as it:
        done: dict[str, int] = {}
        await it.settled()
        await carry_over(it.followed, world, done)
        assert await check(it.followed, world) > 60
        it.sim.item().refresh()
        await it.settled()
        await carry_over(it.followed, world, done)
        await check(it.followed, world)
        gone = await world.one("SELECT count(*) FROM budget.transactions WHERE deleted")
        assert gone > 0


LINE: Mapping[str, Any] = {"budget_id": "b", "amount": "-1.00"}


async def test_lines_that_left_a_split_are_not_live_whatever_arrives_first(world: World) -> None:
    """Two topics, any order: the newer complete set of the parent decides."""
    parent = {"budget_id": "b", "amount": "-1.00", "account_id": "a", "date": "2026-11-01"}
    lines = [
        _told("budget.subtransactions", line, 1, {**LINE, "transaction_id": "t"})
        for line in ("kept", "left")
    ]
    newest = _told("budget.transactions", "t", 2, {**parent, "subtransaction_ids": ["kept"]})
    for batch in ([newest], lines):
        await world.publish(*batch)
        await applied(world)
    live = "SELECT array_agg(id ORDER BY id) FROM budget.subtransactions_live"
    assert await world.one(live) == ["kept"]
    added = _told("budget.subtransactions", "new", 3, {**LINE, "transaction_id": "t"})
    await world.publish(added)
    await applied(world)
    assert await world.one(live) == ["kept", "new"]
    await world.publish(_told("budget.transactions", "t", 4, None))
    await applied(world)
    assert await world.one(live) is None


def _told(name: str, row_id: str, position: int, after: Mapping[str, Any] | None) -> Told:
    key = {"book": "acme", "id": row_id, "source": "property"}
    return told(name, row_id, position, None if after is None else {**key, **after})


async def test_a_matched_purchase_counts_once_and_a_rejected_match_changes_nothing(
    world: World,
) -> None:
    row = {"budget_id": "b", "amount": "-1.00", "account_id": "a", "date": "2026-11-01"}
    await world.publish(*(_told("budget.transactions", key, 1, row) for key in ("x", "y", "z")))
    await applied(world)
    once = "SELECT array_agg(id ORDER BY id) FROM budget.transactions_once"
    assert await world.one(once) == ["x", "y", "z"]
    await world.database.execute(
        "INSERT INTO budget.matches"
        " (book, source, transaction_id, other_source, other_id, score, state)"
        " VALUES ('acme', 'property', 'x', 'property', 'y', 0.9, 'confirmed')"
    )
    assert await world.one(once) == ["x", "z"]
    await world.database.execute("UPDATE budget.matches SET state = 'rejected'")
    assert await world.one(once) == ["x", "y", "z"]
    await world.database.execute("UPDATE budget.matches SET state = 'confirmed'")
    await world.publish(_told("budget.transactions", "x", 2, None))
    await applied(world)
    assert await world.one(once) == ["y", "z"]
