"""What a session that cannot go on from its cursor reads whole."""

from cdc.begin import Beginning
from cdc.cursors import Cursor
from cdc.missing import MissingRows
from cdc.report import Report
from cdc.sources.protocol import Stream
from schemas.version import pack
from tests.fakes import FakeBroker, FakeDatabase, FakeNormaliser, FakeSource, row_events
from tests.unit.test_pipeline_simulated import TOPICS, Silent


async def test_a_lost_position_does_not_hide_that_a_collection_was_taken_away() -> None:
    """Its rows go, whatever other streams there are: it was this one that brought them."""
    database, broker = FakeDatabase(1), FakeBroker(tuple(TOPICS))
    (event,) = row_events("b:d.b", "d.b", "1", pack(0, 50, 0), "c", {"n": 1})
    broker.log[event.topic, event.partition].append(event)
    database.forget()
    mapped, before = FakeNormaliser(("a",)), FakeNormaliser(("a", "b")).mappings
    stream, seen = Stream("db", ("a",), {}), Silent()
    beginning = Beginning(
        book="book",
        source=FakeSource(database, ("a",)),
        stream=stream,
        mapped=mapped,
        broker=broker,
        topics={"p.d.a": "d.a"},
        report=Report(seen, seen),
    )
    stored = Cursor("book", "fake", "db", {}, 0, 0, 60, 0, dict(broker.ids), before, {})
    cursor = await beginning.cursor(stored, None, accept=False)
    assert {name: read.paged for name, read in cursor.reads.items()} == {"a": False, "b": True}
    rows = MissingRows(
        broker,
        book="book",
        source="fake",
        topics=cursor.topics,
        mappings=mapped.mappings,
        reads=cursor.reads,
        epoch=cursor.epoch,
        everything=False,
    )
    assert [row.row_id async for found in rows.find() for row in found] == ["1"]
