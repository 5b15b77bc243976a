"""Dates and times of documents to ISO 8601, the same under any ``TZ`` of the process.

The decoder gives naive UTC datetimes (``DatetimeMS`` beyond the year 9999).
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128

from cdc.mapping.numbers import double_text, number_text
from cdc.mapping.refusal import Refusal

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}"
    r"(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(?:Z|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII,
)
_BEYOND = "is outside the years 1 to 9999"
_UNITS = {"s": 1, "ms": 1000}
SAMPLE_DAY = datetime(2026, 12, 31, 23, 58, 59)  # noqa: DTZ001 - the day is all that matters

Moment = datetime | date
"""An aware datetime, or a calendar date that was written without a time."""


def zone_named(name: str | None) -> tzinfo:
    """The zone of that name (None: UTC); raises ``ValueError`` or ``OSError`` for no zone."""
    return UTC if name in (None, "UTC") else ZoneInfo(name or "")


def zones() -> set[str]:
    """The names of all zones."""
    return available_timezones()


def reader(zone: tzinfo, form: str | None, epoch: str | None) -> Callable[[Any], Moment]:
    """From a document's value to a moment; raises ``Refusal``."""

    def read(value: Any) -> Moment:
        if type(value) is datetime:
            return value.replace(tzinfo=UTC)
        if isinstance(value, str):
            return _formatted(value, form, zone) if form else _iso(value, zone)
        if isinstance(value, DatetimeMS):
            raise Refusal(_BEYOND)
        if isinstance(value, int | float | Decimal128) and not isinstance(value, bool):
            if epoch is None:
                raise Refusal("is a number, and no epoch is declared")
            return _counted(value, _UNITS[epoch])
        raise Refusal("is no date")

    return read


def day(zone: tzinfo, read: Callable[[Any], Moment]) -> Callable[[Any], str]:
    """To the calendar date in the zone."""

    def convert(value: Any) -> str:
        moment = read(value)
        if isinstance(moment, datetime):
            moment = _within(moment, zone).date()
        return moment.isoformat()

    return convert


def instant(zone: tzinfo, read: Callable[[Any], Moment]) -> Callable[[Any], str]:
    """To ``2026-03-01T12:00:00.123Z``; microseconds only where there are some."""

    def convert(value: Any) -> str:
        moment = read(value)
        if not isinstance(moment, datetime):
            moment = datetime(moment.year, moment.month, moment.day, tzinfo=zone)
        moment = _within(moment, UTC).replace(tzinfo=None)
        exact = "microseconds" if moment.microsecond % 1000 else "milliseconds"
        return moment.isoformat(timespec=exact) + "Z"

    return convert


def _within(moment: datetime, zone: tzinfo) -> datetime:
    try:
        return moment.astimezone(zone)
    except (OverflowError, ValueError):
        raise Refusal(_BEYOND) from None


def _iso(text: str, zone: tzinfo) -> Moment:
    if not _ISO.fullmatch(text):
        raise Refusal("is no ISO 8601 date, and no format is declared")
    try:
        if len(text) == len("2026-03-01"):
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refusal("is no date of the calendar") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def _formatted(text: str, form: str, zone: tzinfo) -> Moment:
    try:
        moment = datetime.strptime(text, form)  # noqa: DTZ007 - the zone is laid below
    except ValueError:
        raise Refusal("is not written in the declared format") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def tells_day(form: str) -> bool:
    """Whether a format tells one day of the calendar."""
    try:
        found = datetime.strptime(SAMPLE_DAY.strftime(form), form)  # noqa: DTZ007
    except ValueError:
        return False
    return found.date() == SAMPLE_DAY.date()


def _counted(value: float | Decimal128, units: int) -> datetime:
    """Seconds or milliseconds since 1970; fractions down to a microsecond."""
    number = double_text(value) if isinstance(value, float) else number_text(value)
    try:
        microseconds = int(Decimal(number or "0") * (1_000_000 // units))
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        raise Refusal(_BEYOND) from None
