"""Whose rows a whole read may delete: never those of a stream, or a collection, it did not read."""

import asyncio

import pytest

from cdc.cursors import CollectionRead, Cursor
from cdc.finish_read import FinishRead
from cdc.missing import MissingRows
from cdc.report import Report
from cdc.sources.protocol import Stream
from cdc.whole_read import WholeRead
from schemas.version import pack
from tests.fakes import FakeBroker, FakeDatabase, FakeNormaliser, FakeSource, row_events
from tests.unit.test_pipeline_simulated import Silent

TOPICS = {"p.d.a": "d.a"}
READ_AT = 100
DONE = CollectionRead("asked", first_at=READ_AT, last_at=READ_AT, paged=True)


def broker_with(rows: dict[str, tuple[str, int]]) -> FakeBroker:
    """Live rows on the topic: id to mapping and position."""
    broker = FakeBroker(tuple(TOPICS))
    for row_id, (mapping, position) in rows.items():
        for event in row_events(mapping, "d.a", row_id, pack(0, position, 0), "c", {"n": 1}):
            broker.log[event.topic, event.partition].append(event)
    return broker


@pytest.mark.parametrize(
    ("everything", "missing"),
    [(False, {"below", "taken away"}), (True, {"below", "taken away", "of nobody"})],
)
async def test_rows_that_no_mapping_knows(everything: bool, missing: set[str]) -> None:
    """Another stream's rows lie on the same topic, under mappings that this one does not have."""
    broker = broker_with(
        {
            "below": ("a:d.a", READ_AT - 1),
            "met": ("a:d.a", READ_AT),
            "not read": ("b:d.a", READ_AT - 1),
            "taken away": ("a:d.old", READ_AT + 1),
            "of nobody": ("other:d.a", READ_AT - 1),
        }
    )
    rows = MissingRows(
        broker,
        book="book",
        source="fake",
        topics=TOPICS,
        mappings={"a:d.a": "1", "b:d.a": "1"},
        reads={"a": DONE},
        epoch=0,
        everything=everything,
    )
    assert {row.row_id async for found in rows.find() for row in found} == missing
    assert sum((await rows.tally()).missing.values()) == len(missing)


@pytest.mark.parametrize(
    ("read", "alone", "deleted"),
    [
        (("a", "b"), True, {"of nobody"}),
        (("a",), True, set[str]()),
        (("a", "b"), False, set[str]()),
    ],
)
async def test_what_no_mapping_knows_goes_when_all_was_read(
    read: tuple[str, ...], alone: bool, deleted: set[str]
) -> None:
    """By the only stream, every collection of it, in one: else it may be somebody's."""
    broker = broker_with({"of nobody": ("other:d.a", READ_AT - 1), "met": ("a:d.a", READ_AT)})
    seen, mapped = Silent(), FakeNormaliser(("a", "b"))
    finish = FinishRead(broker, mapped, TOPICS, Report(seen, seen), clock_ms=int, alone=alone)
    source = FakeSource(FakeDatabase(1), ("a", "b"))
    stream = Stream("db", ("a", "b"), {})
    whole = WholeRead(source, stream, dict.fromkeys(read, DONE), document_id=str, rows_max=10)
    cursor = Cursor("book", "fake", "db", {}, 0, None, READ_AT, 0, {}, {}, whole.reads)
    events = []
    for _ in range(100):
        events += finish.step(whole, cursor, READ_AT + 1)
        if not finish.started:
            break
        await asyncio.sleep(0)
    assert not whole.to_finish
    assert {event.key for event in events} == {
        event.key
        for row_id in deleted
        for event in row_events("other:d.a", "d.a", row_id, b"", "d", None)
    }
