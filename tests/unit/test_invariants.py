"""The checker itself: silent about what is right, and it finds each thing broken on purpose."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.invariants import ORDINAL_MAX, Happened, Record, Seen, require, violations

TOPIC = "p.accounting.transactions"
HASH = bytes(32)


def version(position: int, ordinal: int = 0) -> bytes:
    return (0).to_bytes(2, "big") + position.to_bytes(8, "big") + ordinal.to_bytes(4, "big")


def content(amount: str) -> dict[str, Any]:
    return {
        "property_id": "h",
        "type": "income",
        "amount": amount,
        "currency": "USD",
        "date": "2026-03-01",
        "settled": True,
    }


def event(
    offset: int, row_id: str, op: str, at: int, amount: str = "1.00", ordinal: int = 0
) -> Record:
    value = {
        "op": op,
        "after": None if op == "d" else content(amount),
        "source": {"change_version": version(at, ordinal).hex()},
    }
    headers = {"event_id": b"%s-%d-%d" % (row_id.encode(), at, ordinal)}
    headers["transaction_hash"] = HASH.hex().encode()
    return Record(TOPIC, 0, offset, key(row_id), json.dumps(value).encode(), headers)


def key(row_id: str) -> bytes:
    return json.dumps({"book": "b", "id": row_id, "source": "s"}).encode()


def row(offset: int, at: int, amount: str, *, deleted: bool = False) -> dict[str, Any]:
    return {
        **content(amount),
        "amount": Decimal(amount),
        "date": date(2026, 3, 1),
        "transaction_hash": HASH,
        "deleted": deleted,
        "version": version(at),
        "topic": TOPIC,
        "partition": 0,
        "offset": offset,
        "applied_at": datetime(2026, 3, 1, tzinfo=UTC),
    }


def right() -> Seen:
    """Payment `a` was inserted and corrected, `b` inserted and deleted."""
    records = [
        event(0, "a", "c", 10, "1.00"),
        event(1, "b", "c", 11, "7.00"),
        event(3, "a", "u", 12, "2.50"),
        event(5, "b", "d", 13),
        Record(TOPIC, 0, 6, key("b"), None, {}),
    ]
    history = [
        Happened("payments", "insert", "a", 10),
        Happened("payments", "insert", "b", 11),
        Happened("payments", "update", "a", 12),
        Happened("payments", "delete", "b", 13),
    ]
    rows = {"transactions": {"a": row(3, 12, "2.5"), "b": row(5, 13, "7.00", deleted=True)}}
    total = {"property_id": "h", "currency": "USD", "income": Decimal("2.50")}
    total |= {"expenses": Decimal(0), "balance": Decimal("2.50")}
    ends = {(TOPIC, 0): 8}
    return Seen(
        "b", "s", records, history, 13, {}, rows, [total], frozenset(), ends, ends, ends, ["canary"]
    )


def test_nothing_is_said_of_what_is_right() -> None:
    require(violations(right()))


def test_what_a_whole_read_holds_stands_for_the_changes_before_it() -> None:
    seen = right()
    read = event(0, "a", "r", 12, "2.50", ORDINAL_MAX)
    kept = {"a": {**row(0, 12, "2.5"), "version": version(12, ORDINAL_MAX)}}
    gone = replace(
        seen,
        records=[read],
        rows={"transactions": kept},
        read_at={"payments": 13},
        history=seen.history,
    )
    require(violations(gone))


def change_row(seen: Seen, row_id: str, **values: object) -> None:
    rows(seen)[row_id].update(values)


def drop(seen: Seen, index: int) -> None:
    del seen.records[index]  # type: ignore[attr-defined]


def add(seen: Seen, record: Record) -> None:
    seen.records.append(record)  # type: ignore[attr-defined]


def leak(seen: Seen) -> None:
    add(seen, Record(TOPIC, 0, 7, key("b"), None, {"note": b"a canary"}))


def rows(seen: Seen) -> dict[str, dict[str, Any]]:
    return seen.rows["transactions"]  # type: ignore[return-value]


BROKEN: dict[str, tuple[Callable[[Seen], object], str]] = {
    "an event twice": (lambda s: add(s, s.records[2]._replace(offset=7)), "stands at"),
    "a version back": (lambda s: add(s, event(7, "a", "u", 9)), "back to"),
    "a lost change": (lambda s: drop(s, 2), "1 changes of transactions/a at c are on no topic"),
    "a lost row": (lambda s: rows(s).pop("a"), "is in no table"),
    "a row from nowhere": (lambda s: rows(s).update(c=row(0, 1, "1")), "on no topic"),
    "a wrong amount": (lambda s: change_row(s, "a", amount=Decimal("2.51")), "amount should be"),
    "a revived row": (lambda s: change_row(s, "b", deleted=False), "deleted should be True"),
    "an old version": (lambda s: change_row(s, "a", version=version(10)), "version should be"),
    "wrong lineage": (lambda s: change_row(s, "a", offset=0), "offset should be 3"),
    "a wrong total": (lambda s: change_row(s, "a", settled=False), "income should be"),
    "an offset behind": (lambda s: setattr(s, "offsets", {(TOPIC, 0): 5}), "should be 8, is 5"),
    "an open transaction": (lambda s: setattr(s, "ends", {(TOPIC, 0): 9}), "is held at 8 of 9"),
    "a leak on a topic": (leak, "canary"),
    "a leak in a log": (lambda s: setattr(s, "said", ["line with canary"]), "canary was said"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_each_thing_broken_is_found(broken: str) -> None:
    seen = right()
    breaks, says = BROKEN[broken]
    breaks(seen)
    with pytest.raises(AssertionError, match=says):
        require(violations(seen))
