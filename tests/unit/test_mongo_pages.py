"""Reading documents: the time that a read is told to be of."""

from typing import Any

import bson
import pytest
from bson import Int64, Timestamp
from bson.raw_bson import RawBSONDocument

from cdc.mapping.ids import text
from cdc.runtime.errors import Unfit
from cdc.sources.mongo_events import EventReader
from cdc.sources.mongo_pages import Pages, position_of

APPLIED, COMMITTED = Timestamp(100, 7), Timestamp(100, 5)


class LaggingMajority:
    """A primary that has applied more than the majority holds."""

    async def command(self, command: Any, **options: Any) -> Any:
        if command == "ping":
            return {"operationTime": APPLIED}
        batch = [{"_id": "1", "n": "as of the snapshot"}]
        cursor = {"firstBatch": batch, "atClusterTime": COMMITTED, "id": Int64(0)}
        return RawBSONDocument(bson.encode({"cursor": {**cursor, "ns": "d.payments"}, "ok": 1.0}))


@pytest.mark.parametrize("way", ["page", "look_up"])
async def test_what_is_read_has_the_time_of_its_snapshot_not_of_the_newest_write(way: str) -> None:
    """A later time would let a row as it was stand above a change between the two."""
    pages = Pages(LaggingMajority(), None, EventReader(["payments"]))
    if way == "page":
        rows, at, _ = await pages.page("payments", None, 10)
    else:
        rows, at, _ = await pages.look_up("payments", ["1"])
    (changes,) = rows
    assert at == position_of(COMMITTED) == changes[0].position


class LargeDocuments:
    """Three documents wanted, of which a reply can hold two; numbers are of another type."""

    def __init__(self) -> None:
        self.killed: list[Any] = []

    async def command(self, command: Any, **options: Any) -> Any:
        if command == "ping":
            return {"operationTime": APPLIED}
        if "killCursors" in command:
            self.killed += command["cursors"]
            return {"cursorsKilled": command["cursors"], "ok": 1.0}
        batch = [{"_id": "1", "n": 1}, {"_id": 5.0, "n": 5}]
        cursor = {"firstBatch": batch, "atClusterTime": COMMITTED, "id": Int64(77)}
        return RawBSONDocument(bson.encode({"cursor": {**cursor, "ns": "d.payments"}, "ok": 1.0}))


async def test_a_look_up_holds_one_reply_and_tells_what_is_left() -> None:
    """A thousand ids were bounded, a thousand documents of 16 MB were not."""
    database = LargeDocuments()
    pages = Pages(database, None, EventReader(["payments"]))
    rows, _, left = await pages.look_up("payments", ["1", "2", "int:5"])
    assert [change.id for changes in rows for change in changes] == ["1", 5.0]
    assert left == ("2",)
    assert database.killed == [77]


class Latin1:
    """Documents as rows of bytes; an ``_id`` may be Latin-1."""

    def __init__(self, *ids: bytes) -> None:
        self._rows = [
            bson.encode({"_id": "x" * len(each)}).replace(b"x" * len(each), each) for each in ids
        ]
        self.commands: list[Any] = []

    async def command(self, command: Any, **options: Any) -> Any:
        if command == "ping":
            return {"operationTime": APPLIED}
        self.commands.append(command)
        bson.encode(command)  # as the driver does
        rows = [RawBSONDocument(row) for row in self._rows]
        cursor = {"firstBatch": rows, "atClusterTime": COMMITTED, "id": Int64(0)}
        return RawBSONDocument(bson.encode({"cursor": {**cursor, "ns": "d.payments"}, "ok": 1.0}))


async def test_the_next_page_starts_at_an_id_that_can_be_asked_for() -> None:
    """Text that is no UTF-8 can be read, and not be sent: the read stood there for ever."""
    database = Latin1(b"a", b"b", b"caf\xe9")
    pages = Pages(database, None, EventReader(["payments"]))
    rows, _, following = await pages.page("payments", None, 3)
    assert [change.id for changes in rows for change in changes] == ["a", "b", "caf\udce9"]
    await pages.page("payments", following, 3)
    assert database.commands[1]["min"] == {"_id": "b"}


async def test_a_page_without_any_such_id_ends_no_read() -> None:
    """As if it were the last: what lies behind it would count as deleted."""
    pages = Pages(Latin1(b"caf\xe9"), None, EventReader(["payments"]))
    with pytest.raises(Unfit, match="UTF-8"):
        await pages.page("payments", None, 1)


async def test_an_id_that_cannot_be_asked_for_is_left_out_of_a_look_up() -> None:
    database = Latin1(b"a")
    pages = Pages(database, None, EventReader(["payments"]))
    await pages.look_up("payments", ["a", text("caf\udce9")])
    assert database.commands[0]["filter"] == {"_id": {"$in": ["a"]}}
