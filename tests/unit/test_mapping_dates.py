"""Dates and times: the same under any zone of the process, or refused."""

import time
from datetime import datetime
from typing import Any

import pytest
from bson import Decimal128, Int64

from tests.mapping_world import mapped, reason


def utc(*parts: int) -> datetime:
    """As the decoder gives it: naive, meant as UTC."""
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001


@pytest.mark.parametrize(
    ("field", "value", "date"),
    [
        ({"zone": "Europe/Madrid"}, utc(2026, 3, 1, 23, 30), "2026-03-02"),
        ({"zone": "America/New_York"}, utc(2026, 3, 1, 2), "2026-02-28"),
        ({"zone": "Asia/Kathmandu"}, utc(2026, 3, 1, 18, 14), "2026-03-01"),
        ({"zone": "Asia/Kathmandu"}, utc(2026, 3, 1, 18, 15), "2026-03-02"),
        ({"zone": "UTC"}, utc(2026, 3, 1, 23, 59), "2026-03-01"),
        ({"zone": "Europe/Madrid"}, "2026-03-01", "2026-03-01"),
        ({"zone": "Europe/Madrid"}, "2026-03-01T23:30:00", "2026-03-01"),
        ({"zone": "Europe/Madrid"}, "2026-03-01T23:30:00Z", "2026-03-02"),
        ({"zone": "Europe/Madrid"}, "2026-03-01 23:30:00.123456+00:00", "2026-03-02"),
        ({"format": "%d/%m/%Y"}, "31/12/2026", "2026-12-31"),
        ({"format": "%d/%m/%Y", "zone": "Asia/Tokyo"}, "31/12/2026", "2026-12-31"),
        (
            {"format": "%d/%m/%Y %H:%M %z", "zone": "Asia/Tokyo"},
            "31/12/2026 23:00 +0000",
            "2027-01-01",
        ),
        ({"format": "%d/%m/%Y"}, utc(2026, 3, 1), "2026-03-01"),
        ({"epoch": "s"}, 1_772_323_200, "2026-03-01"),
        ({"epoch": "ms"}, Int64(1_772_323_199_999), "2026-02-28"),
        ({"epoch": "ms"}, 1_772_323_200_000.0, "2026-03-01"),
        ({"epoch": "s"}, Decimal128("1772323200.5"), "2026-03-01"),
        ({"epoch": "s"}, -1, "1969-12-31"),
    ],
)
def test_dates_are_calendar_days_in_their_zone(
    field: dict[str, Any], value: Any, date: str
) -> None:
    assert mapped({"path": "x", "type": "date"} | field, value, "date") == date


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kathmandu", "UTC"])
def test_the_zone_of_the_process_does_not_matter(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for field in ({"path": "x"}, {"path": "x", "zone": "Europe/Madrid"}):
            assert mapped(field, utc(2026, 3, 1, 12), "date") == "2026-03-01"
            assert mapped(field, "2026-03-01T12:00:00", "date") == "2026-03-01"
        assert mapped({"path": "x", "epoch": "s"}, 1_772_323_200, "date") == "2026-03-01"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ({}, 5, "is a number, and no epoch is declared"),
        ({}, "31/12/2026", "is no ISO 8601 date, and no format is declared"),
        ({}, "20261231", "is no ISO 8601 date, and no format is declared"),
        ({}, "2026-13-01", "is no date of the calendar"),
        ({"format": "%d/%m/%Y"}, "2026-12-31", "is not written in the declared format"),
        ({"format": "%d/%m/%Y"}, "31/02/2026", "is not written in the declared format"),
        ({"epoch": "s"}, 10**15, "is outside the years 1 to 9999"),
        ({"epoch": "s"}, 1e300, "is outside the years 1 to 9999"),
        ({"epoch": "s"}, float("nan"), "is not a finite number"),
        ({"zone": "Asia/Tokyo"}, utc(9999, 12, 31, 23), "is outside the years 1 to 9999"),
        ({"zone": "America/New_York"}, utc(1, 1, 1), "is outside the years 1 to 9999"),
    ],
)
def test_dates_that_are_none_are_refused(field: dict[str, Any], value: Any, why: str) -> None:
    assert reason({"path": "x", "type": "date"} | field, value, "date") == why


@pytest.mark.parametrize(
    ("field", "value", "instant"),
    [
        ({}, utc(2026, 3, 1, 12, 0, 0, 123_000), "2026-03-01T12:00:00.123Z"),
        ({}, utc(2026, 3, 1), "2026-03-01T00:00:00.000Z"),
        ({}, "2026-03-01T12:00:00+02:00", "2026-03-01T10:00:00.000Z"),
        ({}, "2026-03-01T12:00:00.123456Z", "2026-03-01T12:00:00.123456Z"),
        ({"zone": "Europe/Madrid"}, "2026-07-01T12:00:00", "2026-07-01T10:00:00.000Z"),
        ({"zone": "Europe/Madrid"}, "2026-07-01", "2026-06-30T22:00:00.000Z"),
        ({"epoch": "ms"}, 1_772_366_399_001, "2026-03-01T11:59:59.001Z"),
        ({"format": "%d/%m/%Y", "zone": "Europe/Madrid"}, "1/7/2026", "2026-06-30T22:00:00.000Z"),
    ],
)
def test_timestamps_are_utc(field: dict[str, Any], value: Any, instant: str) -> None:
    assert mapped({"path": "x", "type": "timestamp"} | field, value) == instant
