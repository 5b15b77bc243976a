"""Documents for changes that carried none: the right one for each, bounded in memory."""

from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Binary, Decimal128, Int64, ObjectId, Timestamp
from bson.raw_bson import RawBSONDocument

from cdc.sources.mongo_documents import with_documents
from cdc.sources.mongo_events import DECODE, DECODE_EVENTS, UNREADABLE, EventReader
from cdc.sources.mongo_pages import Pages
from cdc.sources.protocol import Change


class Documents:
    """A database whose replies hold so many documents; asked for ids, it tells in its own order."""

    def __init__(self, *rows: bytes, reply_rows_max: int = 10_000) -> None:
        self.open_cursors = 0
        self.after: list[Timestamp] = []
        self._rows = {self._key(RawBSONDocument(row)["_id"]): row for row in rows}
        self._reply_rows_max = reply_rows_max

    @staticmethod
    def _key(raw_id: Any) -> bytes:
        value = raw_id if not isinstance(raw_id, RawBSONDocument) else bson.decode(raw_id.raw)
        return bson.encode({"": value}, codec_options=DECODE)

    async def command(self, command: Any, **options: Any) -> Any:
        if "killCursors" in command:
            self.open_cursors -= len(command["cursors"])
            return {"ok": 1.0}
        self.after.append(command["readConcern"]["afterClusterTime"])
        bson.encode(command)  # as the driver does
        wanted = {self._key(each) for each in command["filter"]["_id"]["$in"]}
        rows = [row for key, row in sorted(self._rows.items()) if key in wanted]
        found = rows[: command["limit"]]
        cut = len(found) > self._reply_rows_max
        self.open_cursors += cut
        batch = [RawBSONDocument(row) for row in found[: self._reply_rows_max]]
        cursor = {"firstBatch": batch, "id": Int64(77 if cut else 0), "ns": "d.payments"}
        return RawBSONDocument(bson.encode({"cursor": cursor, "ok": 1.0}))


def update(raw_id: Any, position: int = 1, collection: str = "payments") -> Change:
    return Change(collection, "u", raw_id, None, None, position, 0, 0)


async def filled(database: Documents, changes: list[Change]) -> list[list[Change]]:
    pages = Pages(database, None, EventReader(["payments"]))
    return [run async for run in with_documents(pages, changes)]


IDS = [
    ObjectId(),
    "text",
    "tëxt",
    "",
    "1",
    1,
    Int64(2**40),
    1.5,
    True,
    Decimal128("1.25"),
    Binary(b"text"),
    datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None),
    {"a": 1, "b": 2},
    {"b": 2, "a": 1},
    None,
]


async def test_each_change_gets_its_own_document_whatever_its_id_is() -> None:
    rows = [bson.encode({"_id": raw_id, "n": n}) for n, raw_id in enumerate(IDS)]
    (changes,) = await filled(Documents(*rows), [update(raw_id) for raw_id in IDS])
    assert [change.after and change.after["n"] for change in changes] == list(range(len(IDS)))


async def test_what_has_a_document_keeps_it_and_what_was_deleted_since_is_left_out() -> None:
    database = Documents(bson.encode({"_id": "here", "n": "now"}))
    whole = update("whole")._replace(after={"_id": "whole", "n": "then"})
    removed = Change("payments", "d", "removed", None, None, 1, 1, 0)
    faulty = update("faulty")._replace(fault="told before")
    changes = [update("here"), whole, update("gone"), removed, faulty, update("here", 2)]
    (found,) = await filled(database, changes)
    assert [(each.id, each.op, each.after and each.after["n"]) for each in found] == [
        ("here", "u", "now"),
        ("whole", "u", "then"),
        ("removed", "d", None),
        ("faulty", "u", None),
        ("here", "u", "now"),
    ]
    assert [each.position for each in found] == [1, 1, 1, 1, 2]
    assert found[3].fault == "told before"


async def test_they_are_read_not_before_the_newest_change_and_each_in_its_collection() -> None:
    database = Documents(bson.encode({"_id": "1", "n": 1}), bson.encode({"_id": "2", "n": 2}))
    position = (50 << 32) | 7
    changes = [update("1"), update("2", position, "users"), update("1", position)]
    (found,) = await filled(database, changes)
    assert database.after == [Timestamp(50, 7)] * 2  # one look-up a collection
    assert [(each.collection, each.after and each.after["n"]) for each in found] == [
        ("payments", 1),
        ("users", 2),
        ("payments", 1),
    ]


async def test_a_document_that_changed_often_is_decoded_once() -> None:
    """Each of a hundred updates of a large one held it whole."""
    (found,) = await filled(Documents(bson.encode({"_id": 1})), [update(1) for _ in range(50)])
    assert len({id(change.after) for change in found}) == 1


@pytest.mark.parametrize("raw_id", ["a\udcff", {"a": "\udcff"}])
async def test_an_id_that_is_no_utf_8_is_a_fault_of_its_own(raw_id: Any) -> None:
    """It can be read and not be sent: the stream met it at every start again."""
    database = Documents(bson.encode({"_id": "good", "n": 1}))
    (found,) = await filled(database, [update(raw_id), update("good")])
    assert [(each.after and each.after["n"], each.fault) for each in found] == [
        (None, UNREADABLE),
        (1, None),
    ]


async def test_one_that_cannot_be_decoded_is_told_and_its_neighbours_are_read() -> None:
    good = bson.encode({"_id": "good", "n": 1})
    bad = bson.encode({"_id": "bad", "n": {"x": 1}}).replace(b"\x10x", b"\x20x")  # no such type
    (found,) = await filled(Documents(good, bad), [update("bad"), update("good")])
    assert [(each.after and each.after["n"], each.fault) for each in found] == [
        (None, UNREADABLE),
        (1, None),
    ]


@pytest.mark.parametrize("reply_rows_max", [1, 3, 400])
async def test_more_than_a_reply_holds_is_looked_up_in_parts_and_in_order(
    reply_rows_max: int,
) -> None:
    """A thousand ids were bounded, a thousand documents of 16 MB were not."""
    rows = [bson.encode({"_id": n, "n": n}) for n in range(4 * DECODE_EVENTS)]
    database = Documents(*rows, reply_rows_max=reply_rows_max)
    wanted = [n for n in range(4 * DECODE_EVENTS) if n % 2] + [1, 1]
    runs = await filled(database, [update(n) for n in wanted])
    assert [change.after and change.after["n"] for run in runs for change in run] == wanted
    assert max(map(len, runs)) <= DECODE_EVENTS
    assert database.open_cursors == 0
