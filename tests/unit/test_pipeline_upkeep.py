"""What the source's loop does with time: cursors that must not age, servers that said no."""

import asyncio
from typing import cast

import pytest

from cdc.cursors import CollectionRead, Cursor, decode_cursor
from cdc.finish_read import FinishRead
from cdc.missing import Missing
from cdc.pipeline import REJECTED_SECONDS
from cdc.report import Report
from cdc.runtime.errors import Rejected
from cdc.sources.protocol import Checkpoint, Page, Stream
from cdc.whole_read import WholeRead
from schemas.envelope import encode_key
from schemas.version import ORDINAL_MAX, pack
from tests.fakes import FakeBroker, FakeDatabase, FakeNormaliser, FakeSource
from tests.unit.test_pipeline_simulated import TOPICS, Silent, fill, pipeline, quiet, run_until


def stored(broker: FakeBroker) -> Cursor:
    (value,) = broker.stored.values()
    return decode_cursor(value or b"")


async def test_the_cursor_of_a_quiet_source_moves_on() -> None:
    """It would age out of the source's history though nothing was missed."""
    database, broker = FakeDatabase(1), FakeBroker(tuple(TOPICS))
    fill(database, 3)
    await run_until(pipeline(database, broker), lambda: quiet(database, broker))
    before = stored(broker).position
    published = {place: len(records) for place, records in broker.log.items()}
    await run_until(pipeline(database, broker), lambda: stored(broker).position > before + 3)
    assert {place: len(records) for place, records in broker.log.items()} == published


class Rejecting(FakeSource):
    """Its server rejects the request once for its content."""

    rejected = False

    async def open(self) -> tuple[Stream, ...]:
        if not self.rejected:
            self.rejected = True
            raise Rejected("no such thing", status=404)
        return await super().open()


async def test_what_a_server_rejects_is_not_asked_again_for_long() -> None:
    database, broker = FakeDatabase(1), FakeBroker(tuple(TOPICS))
    line = pipeline(database, broker, source=Rejecting(database, ("a", "b")))
    waits: list[float] = []

    def backoff(attempt: int, least: float) -> float:
        waits.append(least)
        return 0.0

    line._backoff = backoff
    await run_until(line, lambda: bool(broker.stored) and quiet(database, broker))
    assert waits == [REJECTED_SECONDS]


def test_a_delete_waits_until_its_version_is_above_the_rows() -> None:
    """On an idle server the row of a whole read has the very position of the stream."""
    seen, key = Silent(), encode_key("book", "fake", "1")
    finish = FinishRead(
        FakeBroker(tuple(TOPICS)), FakeNormaliser(("a",)), TOPICS, Report(seen, seen), clock_ms=int
    )
    finish._touched = set()
    finish._waiting = [Missing("p.d.a", key, "1", "a:d.a", pack(0, 100, ORDINAL_MAX))]
    assert finish._deletes(0, 100) == []
    delete, tombstone = finish._deletes(0, 101)
    assert (delete.key, tombstone.value) == (key, None)
    assert finish._deletes(0, 102) == []


class OnePage:
    """A source of one page, read when request 5 was the newest."""

    async def page(self, stream: Stream, collection: str, start: object, rows_max: int) -> Page:
        return Page([], 100, 5, None)


@pytest.mark.parametrize(
    ("place", "passed"),
    [
        (Checkpoint(None, 100, 0, False, 6), True),
        (Checkpoint(None, 99, 0, False, 6), False),
        (Checkpoint(None, 101, 0, True, 6), False),
        (Checkpoint(None, 101, 0, False, 5), False),
        (Checkpoint(None, 100, 0, False, 6, drained=False), False),
        (Checkpoint(None, 101, 0, False, 6, drained=False), True),
    ],
)
async def test_when_the_stream_has_passed_a_page(place: Checkpoint, passed: bool) -> None:
    """Its time, by a reply that was not full and was asked for after the page was read."""
    whole = WholeRead(
        cast(FakeSource, OnePage()),
        Stream("db", ("a",)),
        {"a": CollectionRead("first snapshot")},
        document_id=str,
        rows_max=10,
    )
    whole.ask(Checkpoint(None, 50, -1, False, 4))
    for _ in range(3):
        await asyncio.sleep(0)
    assert (whole.ready(place) is not None) is passed
    await whole.close()
