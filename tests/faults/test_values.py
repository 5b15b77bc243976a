"""Values as a MongoDB may hold them, on the whole way: exact in the table, or a dead letter."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from bson import Decimal128, Int64

from tests.faults.daemon import Daemon
from tests.faults.system import System

LATE = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
FAR_EAST = "Asia/Kathmandu"
ONE = Decimal128("1.00")
KEPT: dict[str, tuple[dict[str, Any], str, Any]] = {
    "d1 nul in a text": ({"amount": ONE, "description": "a\0b"}, "description", "a\ufffdb"),
    "d4 minus zero": ({"amount": Decimal128("-0.00")}, "amount", Decimal(0)),
    "d4 34 digits": ({"amount": Decimal128("9" * 34)}, "amount", Decimal("9" * 34)),
    "d4 100 digits": ({"amount": Decimal128("1E+99")}, "amount", Decimal("1E+99")),
    "d4 6176 decimals": ({"amount": Decimal128("1E-6176")}, "amount", Decimal("1E-6176")),
    "d5 the largest int": ({"amount": Int64(2**63 - 1)}, "amount", Decimal(2**63 - 1)),
    "d5 beyond any int": ({"amount": 2.0**70}, "amount", Decimal(repr(2.0**70))),
    "d6 a double": ({"amount": 0.1}, "amount", Decimal("0.1")),
    "d7 late in the day": ({"amount": ONE, "date": LATE}, "date", date(2026, 1, 31)),
    "d7 a day as text": ({"amount": ONE, "date": "2026-02-28"}, "date", date(2026, 2, 28)),
}
REFUSED: dict[str, tuple[dict[str, Any], str | None]] = {
    "d4 6145 digits": ({"amount": Decimal128("1E+6144")}, None),  # beyond the table's bound
    "d3 nan": ({"amount": float("nan")}, "amount"),
    "d3 infinity": ({"amount": float("-inf")}, "amount"),
    "d3 decimal nan": ({"amount": Decimal128("NaN")}, "amount"),
    "d3 decimal infinity": ({"amount": Decimal128("Infinity")}, "amount"),
    "d6 a bool": ({"amount": True}, "amount"),
    "d6 nothing": ({"amount": None}, "amount"),
    "d7 no such day": ({"amount": ONE, "date": "2026-02-30"}, "date"),
    "d7 the year 0": ({"amount": ONE, "date": "0000-01-01"}, "date"),
    "d7 a number": ({"amount": ONE, "date": 1_767_225_600}, "date"),
    "d11 as deep as may be": ({"amount": ONE, "description": "deep"}, "description"),
}


def deep(levels: int) -> Any:
    found: Any = "end"
    for _ in range(levels):
        found = [found]
    return found


async def test_d1_to_d7_d11_values_are_exact_or_refused_alone(way: System) -> None:
    """Both as they are read whole and as they change, whatever zone the process lives in."""
    way.source = Daemon("run", {**way.environment, "TZ": FAR_EAST}, way.folder / "run.log")
    documents = [{"_id": name, **fields} for name, (fields, *_) in (KEPT | REFUSED).items()]
    documents[-1]["description"] = deep(150)
    await way.mongo.payments.insert_many(documents)
    await way.running()
    await _as_expected(way)
    await way.mongo.payments.update_many({}, {"$set": {"reference": "changed"}})
    await way.mongo.payments.delete_one({"_id": "d3 nan"})
    good = {"_id": "d3 nan", "amount": ONE}
    await way.mongo.payments.insert_one(good)
    await way.quiet()
    await _as_expected(way, mended="d3 nan")
    changed = "SELECT count(*) FROM accounting.transactions_live WHERE reference = 'changed'"
    assert await way.postgres.fetchval(changed) == len(KEPT)


async def _as_expected(way: System, mended: str = "") -> None:
    rows = {r["id"]: r for r in await way.postgres.fetch("SELECT * FROM accounting.transactions")}
    query = "SELECT document_id, path, reason FROM sync.open_dead_letters"
    letters = [tuple(each) for each in await way.postgres.fetch(query)]
    assert rows.keys() == KEPT.keys() | ({mended} if mended else set()), letters
    found = {name: rows[name][column] for name, (_, column, _) in KEPT.items()}
    assert found == {name: value for name, (*_, value) in KEPT.items()}
    assert {(name, path) for name, path, _ in letters} == {
        (name, path) for name, (_, path) in REFUSED.items() if name != mended
    }
