"""Dead letters as a person meets them: listed, shown, tried again, dropped."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from consumers import dead_letters
from consumers.dead_letters import Selection
from tests.conftest import Addresses
from tests.consumer_world import (
    OWNERS,
    TRANSACTIONS,
    World,
    applied,
    make_world,
    payment,
    told,
    version,
)

ALL = Selection()


@pytest.fixture
async def world(stack: Addresses, database: str, topic_prefix: str) -> AsyncIterator[World]:
    made = await make_world(stack.kafka_bootstrap_servers, database, topic_prefix)
    yield made
    await made.database.close()


async def find(world: World, selection: Selection = ALL, **options: Any) -> list[Any]:
    pages = dead_letters.find(world.database, selection, **options)
    return [letter async for page in pages for letter in page]


def letter(document_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "book": "acme",
        "source": "property",
        "mapping": "payments",
        "entity": TRANSACTIONS,
        "stage": "map",
        "document_id": document_id,
        "row_id": None,
        "path": "amount",
        "reason": "missing",
        "version": version(3).hex(),
        "collection": "payments",
        "ts_ms": 1,
    } | changes


async def test_listed_and_shown(world: World) -> None:
    await world.publish(payment("t1", 1, date="2026-02-31"), told(OWNERS, "o1", 1, {"name": 5}))
    await applied(world)
    by_entity = {each.entity: each for each in await find(world)}
    assert set(by_entity) == {TRANSACTIONS, OWNERS}
    assert by_entity[TRANSACTIONS].value is None, "a list holds no records"
    (shown,) = await find(world, Selection(ids=(by_entity[TRANSACTIONS].id,)), whole=True)
    whole = shown.document(whole=True)
    assert orjson.loads(whole["value"])["after"]["date"] == "2026-02-31"
    assert set(whole["headers"]) == {"event_id", "transaction_hash", "schema"}
    assert whole["reason"].startswith("22008")
    assert "value" not in shown.document(whole=False)
    assert orjson.dumps(whole)
    assert [each.entity for each in await find(world, Selection(entity=OWNERS))] == [OWNERS]


async def test_retry_applies_what_can_be_applied_by_now(world: World) -> None:
    """The table was too narrow; it is widened; the stored record is applied as it was told."""
    await world.database.execute(
        "ALTER TABLE accounting.transactions ADD CONSTRAINT narrow CHECK (amount < 100)"
    )
    await world.publish(payment("t1", 1, amount="500"), payment("t2", 1, date="2026-02-31"))
    await world.publish(payment("t3", 1, amount="501"))
    await applied(world)
    ids = {each.document_id: each.id for each in await find(world)}
    done = await dead_letters.retry(world.database, world.database, ALL, by="ann")
    assert done == ((), tuple(sorted(ids.values())), (), ())
    await world.database.execute("ALTER TABLE accounting.transactions DROP CONSTRAINT narrow")
    await world.publish(payment("t3", 2, amount="777"))
    await applied(world)
    done = await dead_letters.retry(world.database, world.database, ALL, by="ann")
    assert (done.applied, done.refused) == ((ids["t1"],), (ids["t2"],))
    rows = await world.rows("accounting.transactions", "amount", "version")
    assert {key: int(row[0]) for key, row in rows.items()} == {"t1": 500, "t3": 777}
    assert [each.document_id for each in await find(world)] == ["t2"]
    assert await world.differing_totals() == []


async def test_retry_never_takes_a_row_back(world: World) -> None:
    await world.publish(payment("t1", 1, date="2026-02-31"))
    await applied(world)
    (old,) = await find(world)
    await world.publish(payment("t1", 2, amount="2"))
    await applied(world)
    assert await find(world) == []
    await world.database.execute(
        "UPDATE sync.dead_letters SET value = $1 WHERE id = $2",
        payment("t1", 1, amount="1").value,
        old.id,
    )
    await dead_letters.retry(world.database, world.database, Selection(ids=(old.id,)), by="ann")
    rows = await world.rows("accounting.transactions", "amount", "version")
    assert rows["t1"][1] == version(2)


async def test_retry_of_the_map_stage_asks_the_owner(world: World) -> None:
    """Nobody but the source's owner publishes: one request for each collection."""
    await world.publish_letter(letter("d1"))
    await world.publish_letter(letter("d2"))
    await world.publish_letter(letter("d3", collection="users", entity=OWNERS))
    await applied(world)
    done = await dead_letters.retry(world.database, world.database, ALL, by="ann")
    assert len(done.asked) == 3
    rows = await world.database.fetch(
        "SELECT source, kind, parameters::text, state, requested_by FROM sync.requests ORDER BY id"
    )
    assert [tuple(row) for row in rows] == [
        ("property", "retry", '{"ids": ["d1", "d2"], "collection": "payments"}', "waiting", "ann"),
        ("property", "retry", '{"ids": ["d3"], "collection": "users"}', "waiting", "ann"),
    ]
    assert len(await find(world)) == 3  # open until a newer row stands


async def test_a_retry_of_many_asks_for_them_in_parts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner holds the documents of a request in memory, all of them."""
    monkeypatch.setattr(dead_letters, "RETRY_IDS_MAX", 2)
    for name in ("d1", "d2", "d3"):
        await world.publish_letter(letter(name))
    await applied(world)
    done = await dead_letters.retry(world.database, world.database, ALL, by="ann")
    rows = await world.database.fetch("SELECT parameters->>'ids' FROM sync.requests ORDER BY id")
    assert [row[0] for row in rows] == ['["d1", "d2"]', '["d3"]']
    assert len(done.requests) == 2


async def test_all_are_all_however_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand were listed and tried again, the rest was not told."""
    monkeypatch.setattr(dead_letters, "LETTERS_PAGE", 2)
    monkeypatch.setattr(dead_letters, "RECORDS_PAGE", 2)
    for number in range(5):
        await world.publish_letter(letter(f"d{number}"))
    await world.publish(*(payment(f"t{number}", 1, date="2026-02-31") for number in range(5)))
    await applied(world)
    found = await find(world)
    assert len(found) == 10
    done = await dead_letters.retry(world.database, world.database, ALL, by="ann")
    assert (len(done.asked), len(done.refused), len(done.requests)) == (5, 5, 1)
    dropped = await dead_letters.drop(world.database, ALL)
    assert list(dropped) == [each.id for each in found]


async def test_dropped_ones_stay_closed_until_something_newer_fails(world: World) -> None:
    await world.publish_letter(letter("d1"))
    await applied(world)
    (open_one,) = await find(world)
    assert await dead_letters.drop(world.database, ALL) == (open_one.id,)
    assert await dead_letters.drop(world.database, Selection(ids=(open_one.id,))) == ()
    await world.publish_letter(letter("d1"))
    await applied(world)
    assert await find(world) == []
    await world.publish_letter(letter("d1", version=version(4).hex()))
    await applied(world)
    assert [each.id for each in await find(world)] == [open_one.id]
