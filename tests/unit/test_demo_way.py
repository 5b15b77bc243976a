"""Changes seen from outside: what is under way, what has arrived, and how long it took."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId

from compose.demo.life import Happening
from compose.demo.way import Way

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Table:
    """Rows as a look-up by primary key finds them."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def put(self, id_: object, source_seconds: float, took_ms: float) -> None:
        written = BEGAN + timedelta(seconds=source_seconds)
        self.rows[str(id_)] = {
            "id": str(id_),
            "source_time": written,
            "committed": written + timedelta(milliseconds=took_ms),
            "place": "topic/0 @ 1",
        }

    async def fetch(
        self, _query: str, _book: str, _source: str, ids: list[str]
    ) -> list[dict[str, Any]]:
        return [self.rows[each] for each in ids if each in self.rows]


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def way(table: Table) -> Way:
    return Way(table, "acme", "property")  # type: ignore[arg-type]


def happening(id_: object, seconds: float = 0.0, **fields: Any) -> Happening:
    return Happening("payments", id_, "paid", BEGAN.timestamp() + seconds, **fields)


async def test_a_change_is_under_way_until_its_row_is_there(way: Way, table: Table) -> None:
    id_ = ObjectId()
    way.add([happening(id_)])
    await way.look()
    assert (way.under_way, way.arrived) == (1, 0)

    table.put(id_, 0.001, took_ms=7.5)
    await way.look()
    assert (way.under_way, way.arrived) == (0, 1)
    assert way.percentile(0.5) == pytest.approx(7.5)
    assert way.last[0].milliseconds == pytest.approx(7.5)


async def test_an_older_state_of_the_row_is_not_the_change(way: Way, table: Table) -> None:
    id_ = ObjectId()
    table.put(id_, -60, took_ms=5)
    way.add([happening(id_)])
    await way.look()
    assert way.under_way == 1


async def test_a_newer_state_covers_the_older_changes(way: Way, table: Table) -> None:
    id_ = ObjectId()
    way.add([happening(id_, 0), happening(id_, 1), happening(id_, 2)])
    table.put(id_, 1.0, took_ms=5)
    await way.look()
    assert (way.under_way, way.arrived) == (1, 2)
    assert way.milliseconds == pytest.approx([5])


async def test_times_of_an_outage_are_shown_but_not_counted(way: Way, table: Table) -> None:
    first, second = ObjectId(), ObjectId()
    way.calm_since = BEGAN.timestamp() + 10
    way.add([happening(first, 5), happening(second, 15)])
    table.put(first, 5, took_ms=2_000)
    table.put(second, 15, took_ms=6)
    await way.look()
    assert way.arrived == 2
    assert way.milliseconds == pytest.approx([6])
    assert {round(each.milliseconds) for each in way.last} == {2_000, 6}


async def test_recovered_means_nothing_old_is_under_way(way: Way) -> None:
    way.add([happening(ObjectId(), 0), happening(ObjectId(), 5)])
    assert way.waiting_since_before(BEGAN.timestamp() + 1) == 1
    assert way.waiting_since_before(BEGAN.timestamp() + 9) == 2


async def test_what_cannot_be_mapped_is_not_waited_for(way: Way) -> None:
    way.add([happening(ObjectId(), mappable=False)])
    assert (way.written, way.under_way, way.lag_seconds) == (1, 0, 0.0)


async def test_what_is_written_is_the_sum_of_its_three_ends(way: Way, table: Table) -> None:
    arrives, waits = ObjectId(), ObjectId()
    way.add([happening(arrives), happening(waits), happening(ObjectId(), mappable=False)])
    table.put(arrives, 0.001, took_ms=7.5)
    await way.look()
    assert (way.written, way.arrived, way.under_way, way.unmappable) == (3, 1, 1, 1)
