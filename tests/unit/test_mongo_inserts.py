"""The short way of plain inserts gives what the long way gives, and leaves to it all else."""

import random
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId, Timestamp

from cdc.sources.mongo_events import UNREADABLE, EventReader
from cdc.sources.mongo_inserts import InsertReader
from cdc.sources.protocol import Change, Notice

WATCHED = ("payments", "users")
BROKEN_TEXT = b"\x02text\0\x04\0\0\0abc\0"


def event(number: int = 0, operation: str = "insert", **parts: Any) -> dict[str, Any]:
    """As MongoDB 6.0 writes it, in its order of fields."""
    raw_id = parts.pop("id", ObjectId())
    document = {"_id": raw_id, "amount": Decimal128("10.50"), "n": Int64(1 << 40)}
    shell: dict[str, Any] = {
        "_id": {"_data": f"8265A1B2C3{number:08X}2B042C0100296E5A1004"},
        "operationType": operation,
        "clusterTime": Timestamp(1_700_000_000, 1 + number // 3),
        "wallTime": datetime(2026, 1, 2, 3, 4, 5, 678_000),  # noqa: DTZ001
        **parts.pop("between", {}),
        "fullDocument": document | parts.pop("document", {}),
        "ns": {"db": "company", "coll": parts.pop("collection", "payments")},
        "documentKey": {"_id": raw_id},
    }
    return {name: value for name, value in (shell | parts).items() if value is not ...}


def both(events: list[bytes], monkeypatch: pytest.MonkeyPatch) -> list[Change | Notice]:
    """What the reader gives, after it was seen to give the same without the short way."""
    short = EventReader(WATCHED).read(events)
    with monkeypatch.context() as patch:
        patch.setattr(InsertReader, "read", lambda *_: None)
        long = EventReader(WATCHED).read(events)
    assert short == long
    return [*short[0], *short[1]]


def test_inserts_are_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(7)
    tricky: list[Mapping[str, Any]] = [
        {"fullDocument": {"x": 1}},
        {"text": "\x03fullDocument\0\x09wallTime\0", "data": b"\x03ns\0\x03fullDocument\0"},
        {"nested": {"fullDocument": {"ns": {"coll": "users"}}}},
        {"ä": "ö\0ü", "large": "x" * 70_000, "n": Int64(5), "none": None},
        {},
    ]
    ids = [ObjectId(), "text", 7, {"a": 1}, "\x03fullDocument\0"]
    events = [
        event(
            number,
            document=rng.choice(tricky),
            id=rng.choice(ids),
            collection=rng.choice([*WATCHED, "sessions"]),
        )
        for number in range(200)
    ]
    raw = [bson.encode(each) for each in events]
    assert InsertReader().read(raw) is not None
    found = both(raw, monkeypatch)
    assert len(found) == sum(each["ns"]["coll"] in WATCHED for each in events)


@pytest.mark.parametrize(
    "other",
    [
        event(1, "update"),
        event(1, "replace"),
        event(1, "update", fullDocument=None, updateDescription={"updatedFields": {"a": 1}}),
        event(1, "delete", fullDocument=...),
        event(1, "drop", fullDocument=..., documentKey=...),
        event(1, between={"txnNumber": Int64(3), "lsid": {"id": "x"}}),
        event(1, wallTime=...),
        event(1, fullDocument=None),
    ],
    ids=lambda each: f"{each['operationType']} of {len(each)} fields",
)
def test_a_run_with_anything_else_goes_the_long_way(
    other: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = [bson.encode(each) for each in (event(0), other, event(2))]
    assert InsertReader().read(raw) is None
    both(raw, monkeypatch)


def test_a_document_that_cannot_be_decoded_is_told_and_its_neighbours_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = bson.encode(event(0, document={"text": "abc"}))
    assert good.count(BROKEN_TEXT) == 1
    broken = good.replace(BROKEN_TEXT, BROKEN_TEXT.replace(b"\x04\0\0\0", b"\x7f\0\0\0"))
    found = both([good, broken, good], monkeypatch)
    assert [isinstance(each, Change) and each.fault for each in found] == [None, UNREADABLE, None]


def test_ordinals_go_on_over_runs_and_over_both_ways() -> None:
    reader = EventReader(WATCHED)
    mixed = [event(1), event(1, "update"), event(1)]
    runs = [[event(1), event(1)], mixed, [event(1), event(4)]]
    changes = [
        change for run in runs for change in reader.read([bson.encode(each) for each in run])[0]
    ]
    assert [change.ordinal for change in changes] == [0, 1, 2, 3, 4, 5, 0]
