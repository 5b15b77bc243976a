"""Reading whole on a real mongod: each sentence of the design's page on it."""

import asyncio
import signal
import time
import uuid
from datetime import datetime
from typing import Any

import pytest
from bson import Binary, Decimal128, Int64, MinKey, ObjectId, Timestamp

from compose.stack.mongo import MongoServer
from tests.crash.nursery import Life, Nursery
from tests.fault_proxy import FaultProxy
from tests.faults.system import System, quick
from tests.faults.test_source_position import payment, put_cursor, sealed

LIVE = "SELECT count(*) FROM accounting.transactions_live"
ROWS_OF_A_COMMIT_MAX = 2 * 7
"""A page is of 7 rows there (`tests/crash/launch.py`), and two may have been read ahead."""
WINDOW_SECONDS = 1


@pytest.mark.parametrize("how", ["steps down", "killed"])
async def test_s1_a_primary_that_goes_away_costs_nothing_but_time(
    own_way: System, mongod: MongoServer, how: str
) -> None:
    """The stream goes on behind its last token, in the same process, without reading whole."""
    writer = own_way.writer(5)
    await writer.found(40)
    await own_way.running()
    reads, pid = own_way.told("collection is read whole"), own_way.source.pid
    own_way.idle = True  # what is written now may fail
    async with own_way.writing(writer):
        if how == "killed":
            await mongod.kill()
            await mongod.start()
        else:
            down = {"replSetStepDown": 2, "force": True}
            await own_way.client.admin.command(down)
        before = writer.written
        await own_way.until(_grown(writer, before + 30), "the writer writes again")
        own_way.idle = False
    await own_way.require_right()
    assert own_way.told("collection is read whole") == reads
    assert own_way.source.pid == pid


def _grown(writer: Any, count: int) -> Any:
    async def grown() -> bool:
        return bool(writer.written >= count)

    return grown


async def test_s13_writes_beside_a_snapshot_end_as_the_documents_are(
    way: System, nursery: Nursery
) -> None:
    """Four writers, small pages: no gap between snapshot and stream, no row from the past."""
    writers = [way.writer(seed) for seed in range(4)]
    for writer in writers:
        writer._number = writer.seed * 1_000_000
        await writer.found(60)
    way.consumer.start()
    async with asyncio.TaskGroup() as group:
        stop = asyncio.Event()
        for writer in writers:
            group.create_task(writer.run(stop))
        await quick(way, nursery)
        await way.until(way.published, "the snapshot is published")
        stop.set()
    await way.require_right()


async def test_s13_killed_at_every_page_it_goes_on_at_the_next(
    way: System, nursery: Nursery
) -> None:
    """A page that is published is not read again: its progress stands in the cursor."""
    documents = [payment() for _ in range(70)]
    await way.mongo.payments.insert_many(documents)
    way.consumer.start()
    deaths = 0
    while not await _payments_read(way):
        seen = str(way.folder / f"{deaths}.points")  # all is new to every life
        crash = {"ONLY": "commit_transaction after", "NTH": "2", "SEEN": seen}
        life = await quick(way, nursery, **crash)  # the first commit says what will be read

        async def over(life: Life = life) -> bool:
            return life.ended.done() or await _payments_read(way)

        await way.until(over, "a page is published")
        life.signal(signal.SIGKILL)
        await life.ended
        deaths += 1
    assert deaths >= len(documents) // ROWS_OF_A_COMMIT_MAX
    await quick(way, nursery)
    await way.require_right()
    assert len(way.topics.of(way.entity_topics[2])) == len(documents)


async def _payments_read(way: System) -> bool:
    cursor = await way.cursor() or {"reads": {}}
    return bool(cursor["reads"].get("payments", {}).get("done"))


async def test_s14_a_snapshot_longer_than_the_servers_window_goes_on(
    own_way: System, mongod: MongoServer, nursery: Nursery
) -> None:
    """Each page is a snapshot of its own: none is too old, and none is read twice."""
    window = {"setParameter": 1, "minSnapshotHistoryWindowInSeconds": WINDOW_SECONDS}
    await own_way.client.admin.command(window)
    documents = [payment() for _ in range(140)]
    await own_way.mongo.payments.insert_many(documents)
    own_way.consumer.start()
    async with FaultProxy(mongod.port) as proxy:
        direct = f"mongodb://127.0.0.1:{proxy.port}/{own_way.mongo_name}?directConnection=true"
        own_way.configure(uri=direct)
        proxy.delay(0.04)
        began = time.monotonic()
        life = await quick(own_way, nursery)
        await own_way.until(own_way.published, "the snapshot is published")
        assert time.monotonic() - began > WINDOW_SECONDS
        life.signal(signal.SIGTERM)
        assert await life.ended == 0
    own_way.configure()
    await quick(own_way, nursery)
    await own_way.require_right()
    records = own_way.topics.of(own_way.entity_topics[2])
    assert len(records) == len({record.key for record in records}) == len(documents)


async def test_an_idle_server_is_read_whole_without_waiting_for_its_clock(
    own_way: System,
) -> None:
    """Where nothing is written, the page's time is the last event's: never wait for more."""
    await own_way.mongo.payments.insert_many([payment() for _ in range(30)])
    await own_way.client.admin.command({"setParameter": 1, "writePeriodicNoops": False})
    own_way.idle = True  # from here on its time stands still, but for what is written here
    own_way.source.start()

    async def done() -> bool:
        cursor = await own_way.cursor()
        return cursor is not None and all(read.get("done") for read in cursor["reads"].values())

    await own_way.until(done, "the snapshot is done")
    last = payment()
    await own_way.mongo.payments.insert_one(last)
    await own_way.all_published()
    await own_way.ask("resync", collection="payments")  # from the time of that event on
    await own_way.until(own_way.answered, "it is read whole again")
    await own_way.until(own_way.settled, "its records are shown")  # a moment after the answer
    assert len(own_way.topics.of(own_way.entity_topics[2])) == 30 + 1 + 31


KINDS: dict[str, Any] = {
    "int": lambda n: n,
    "long": lambda n: Int64(2**40 + n),
    "double": lambda n: n + 0.5,
    "decimal": lambda n: Decimal128(f"{n}.25"),
    "text": lambda n: f"text-{n}",
    "text like an int": lambda n: f"int:{n}",
    "hex text": lambda n: f"{n:024x}",
    "object id": lambda n: ObjectId(f"{n + 1000:024x}"),
    "uuid": lambda n: Binary.from_uuid(uuid.UUID(int=n)),
    "binary": lambda n: Binary(b"%d" % n),
    "date": lambda n: datetime(2026, 1, 1 + n),  # noqa: DTZ001 - as BSON has it
    "bool": lambda n: bool(n % 2),
    "document": lambda n: {"a": n, "b": 1},
    "document, turned": lambda n: {"b": 1, "a": n},
    "timestamp": lambda n: Timestamp(n + 1, 1),
    "null": lambda n: None,
    "smallest": lambda n: MinKey(),
}
ONE_OF_A_KIND = ("null", "smallest")


async def test_mixed_types_of_ids_are_all_read_and_none_is_taken_for_another(
    way: System, nursery: Nursery
) -> None:
    """A comparison is bracketed by type and would miss most of them."""
    documents = [
        {"_id": make(number), "name": f"{kind} {number}"}
        for kind, make in KINDS.items()
        for number in range(1 if kind in ONE_OF_A_KIND else 2 if kind == "bool" else 4)
    ]
    await way.mongo.users.insert_many(documents)
    way.consumer.start()
    life = await quick(way, nursery)
    await _owners_are(way, {each["name"] for each in documents})
    for document in documents:
        changed = {"$set": {"name": f"{document['name']} again"}}
        await way.mongo.users.update_one({"_id": document["_id"]}, changed)
    await _owners_are(way, {f"{each['name']} again" for each in documents})
    life.signal(signal.SIGKILL)
    await life.ended
    await way.mongo.users.delete_many({})
    await quick(way, nursery)
    await _owners_are(way, set())


async def _owners_are(way: System, names: set[str]) -> None:
    async def so() -> bool:
        rows = await way.postgres.fetch("SELECT name FROM accounting.owners_live")
        return {row["name"] for row in rows} == names and len(rows) == len(names)

    await way.until(so, f"{len(names)} owners")


async def _lose_the_cursor(way: System) -> None:
    """Its token is one that no server takes."""
    cursor = await way.cursor()
    assert cursor is not None
    await put_cursor(way, sealed({**cursor, "token": {"_data": "82zz"}}))


async def test_a_whole_read_never_deletes_what_it_met_and_could_not_map(way: System) -> None:
    """The row keeps its last good content; what is really gone is deleted."""
    kept, gone, other = payment(), payment(), payment()
    await way.mongo.payments.insert_many([kept, gone, other])
    await way.running()
    assert await way.source.stop() == 0
    await _lose_the_cursor(way)
    await way.mongo.payments.update_one({"_id": kept["_id"]}, {"$set": {"amount": "many"}})
    await way.mongo.payments.delete_one({"_id": gone["_id"]})
    way.source.start()
    await way.heard("whole read is done", 2)
    await way.quiet()
    rows = await way.postgres.fetch("SELECT id FROM accounting.transactions_live")
    assert {row["id"] for row in rows} == {str(kept["_id"]), str(other["_id"])}
    letters = await way.postgres.fetch("SELECT document_id, path FROM sync.dead_letters")
    assert [tuple(row) for row in letters] == [(str(kept["_id"]), "amount")]


NUMBERED = """
[[sources.property.mappings]]
collection = "payments"
entity = "accounting.transactions"
[sources.property.mappings.fields]
id = "number"
amount = "amount"
type = { const = "income" }
"""


async def test_where_an_id_that_was_met_cannot_be_told_nothing_is_deleted(way: System) -> None:
    """It may be that of any row: that mapping's deletes are left out, and reported."""
    way.configure(NUMBERED)
    images = {"changeStreamPreAndPostImages": {"enabled": True}}
    await way.mongo.create_collection("payments", **images)
    documents = [payment(number=f"n{number}") for number in range(3)]
    await way.mongo.payments.insert_many(documents)
    await way.running()
    assert await way.source.stop() == 0
    await _lose_the_cursor(way)
    await way.mongo.payments.delete_one({"_id": documents[0]["_id"]})
    await way.mongo.payments.update_one({"_id": documents[1]["_id"]}, {"$unset": {"number": 1}})
    way.source.start()
    await way.heard("whole read is done", 2)
    assert way.told("deletes are left out") >= 1
    await way.quiet()
    assert await _count(way, 3)
    await way.mongo.payments.update_one({"_id": documents[1]["_id"]}, {"$set": {"number": "n1"}})
    await way.command("resync", way.name)
    await way.until(lambda: _count(way, 2), "a later whole read that met no such id deletes")


async def test_mass_deletes_that_a_whole_read_finds_wait_for_a_person(way: System) -> None:
    """More than a thousand and more than a fifth: told, held, done when they are allowed."""
    documents = [payment() for _ in range(1500)]
    await way.mongo.payments.insert_many(documents)
    await way.running()
    assert await way.source.stop() == 0
    await _lose_the_cursor(way)
    gone = [each["_id"] for each in documents[:1200]]
    await way.mongo.payments.delete_many({"_id": {"$in": gone}})
    way.source.start()
    await way.heard("would delete 1200 of 1500")
    await way.heard('"state":"gap"')
    live = payment(reference="the stream goes on")
    await way.mongo.payments.insert_one(live)
    await way.until(lambda: _count(way, 1501), "the new one, and all the old ones")
    await way.command("resync", way.name, "--allow-deletes")
    await way.until(way.answered, "the resync is done")
    await way.require_right()
    assert await _count(way, 301)


async def _count(way: System, count: int) -> bool:
    return bool(await way.postgres.fetchval(LIVE) == count)


async def test_a_resync_beside_the_stream_heals_what_was_lost_on_the_way(way: System) -> None:
    """A row that was deleted by hand is there again; nobody else's is touched."""
    writer = way.writer(9)
    await writer.found(60)
    await way.running()
    async with way.writing(writer):
        await way.command("resync", way.name, "--collection", "payments", "--wait")
    await way.require_right()
