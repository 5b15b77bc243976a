"""Replies that end inside a transaction, because the next event is too large for them.

All changes of a transaction share their position. Where such a reply passed for all there was, a
page read at that very time, or the deletes at a whole read's end, were published before the rest
of the transaction, which was then taken for older than them: changes were lost.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from cdc.sources.protocol import Page, Stream
from schemas.envelope import Event
from tests.fakes import FakeBroker, FakeDatabase, FakeSource
from tests.unit.test_pipeline_simulated import check, fill, pipeline, quiet, run_until

TOPICS = ("p.d.a", "p.d.b")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc.whole_read.REREAD_SECONDS", 0.0)


class OneByOne(FakeSource):
    """Every event fills its reply; before page ``number`` of ``a`` a transaction is written."""

    def __init__(self, database: FakeDatabase, number: int = 0) -> None:
        super().__init__(database, ("a", "b"))
        self._pages_left = number

    def _reply_length(self) -> int:
        return 1

    async def page(self, stream: Stream, collection: str, start: Any, rows_max: int) -> Page:
        if collection == "a":
            self._pages_left -= 1
            if self._pages_left == 0:
                self.database.write("b", "8", {"n": 80})
                for number in (0, 3, 8):
                    self.database.write("a", f"{number}", {"n": 100}, tied=True)
                self.database.write("a", "7", None, tied=True)
        return await super().page(stream, collection, start, rows_max)


@pytest.mark.parametrize("number", [3, 4])
@pytest.mark.parametrize("seed", range(10))
async def test_a_page_read_at_a_transactions_time_waits_for_its_rest(
    seed: int, number: int
) -> None:
    database = FakeDatabase(seed)
    fill(database, 10)
    broker = FakeBroker(TOPICS)
    source = OneByOne(database, number)
    await run_until(pipeline(database, broker, source=source), lambda: quiet(database, broker))
    check(database, broker)


class Returning(FakeBroker):
    """While missing rows are searched for, one comes back: the second change of a transaction."""

    database: FakeDatabase
    reads_left = 0

    async def records(
        self, topic: str, partition: int, start: int, end: int
    ) -> AsyncIterator[Sequence[Event]]:
        async for batch in super().records(topic, partition, start, end):
            yield batch
        self.reads_left -= 1
        if self.reads_left == 0:
            self.database.write("b", "1", {"n": 10})
            self.database.write("a", "5", {"n": 50}, tied=True)


@pytest.mark.parametrize("reads", range(1, 9))
async def test_deletes_at_the_end_do_not_overtake_the_rest_of_a_transaction(reads: int) -> None:
    database = FakeDatabase(1)
    fill(database, 10)
    broker = Returning(TOPICS)
    broker.database = database
    await run_until(pipeline(database, broker), lambda: quiet(database, broker))
    for number in (4, 5, 6):
        database.write("a", f"{number}", None)
    database.forget()
    database.write("b", "0", {"n": 1})
    broker.reads_left = reads
    source = OneByOne(database)
    await run_until(pipeline(database, broker, source=source), lambda: quiet(database, broker))
    assert database.state("a")["5"] == {"n": 50}
    check(database, broker)
