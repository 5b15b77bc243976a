"""Stretches of days: which are wanted, which are there, what is missing, in which pieces."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import NamedTuple

DAY = timedelta(days=1)


class Days(NamedTuple):
    """Both days are included; ``first`` is never after ``last``."""

    first: date
    last: date


def union(stretches: Iterable[Days]) -> list[Days]:
    """The same days, in order, with no two that touch."""
    found: list[Days] = []
    for each in sorted(stretches):
        if found and each.first <= found[-1].last + DAY:
            found[-1] = Days(found[-1].first, max(found[-1].last, each.last))
        else:
            found.append(each)
    return found


def without(wanted: Days, there: Iterable[Days]) -> list[Days]:
    """The gaps: what is wanted and not there."""
    gaps: list[Days] = []
    first = wanted.first
    for each in union(there):
        if each.last < first:
            continue
        if each.first > wanted.last:
            break
        if each.first > first:
            gaps.append(Days(first, each.first - DAY))
        first = each.last + DAY
    if first <= wanted.last:
        gaps.append(Days(first, wanted.last))
    return gaps


def windows(gaps: Iterable[Days], days_max: int) -> list[Days]:
    """The gaps in pieces of at most so many days, the newest first: it is what people look at."""
    found: list[Days] = []
    for gap in union(gaps):
        last = gap.last
        while last >= gap.first:
            first = max(gap.first, last - timedelta(days=days_max - 1))
            found.append(Days(first, last))
            last = first - DAY
    return sorted(found, reverse=True)


def months_before(day: date, months: int) -> date:
    """The same day so many months earlier, or that month's last one."""
    index = day.year * 12 + day.month - 1 - months
    first = date(index // 12, index % 12 + 1, 1)
    following = date((index + 1) // 12, (index + 1) % 12 + 1, 1)
    return min(first.replace(day=1) + timedelta(days=day.day - 1), following - DAY)
