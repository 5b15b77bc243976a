"""Stretches of days against plain sets of days; how a backfill is planned."""

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cdc.jobs.backfill import WINDOW_DAYS, plan
from cdc.jobs.coverage import Account, Covered, gaps
from cdc.jobs.days import Days, months_before, union, windows, without
from cdc.operation.asked import RESYNC, WINDOW

START = date(2024, 2, 20)
STATES = ("fetched", "shrunk", "failed", "not_available")


def days(first: int, last: int) -> Days:
    return Days(START + timedelta(days=first), START + timedelta(days=last))


stretches = st.tuples(st.integers(0, 80), st.integers(0, 15)).map(
    lambda drawn: days(drawn[0], drawn[0] + drawn[1])
)


def each_day(found: list[Days]) -> list[date]:
    return [
        each.first + timedelta(days=n)
        for each in found
        for n in range((each.last - each.first).days + 1)
    ]


@given(st.lists(stretches))
def test_a_union_holds_the_same_days_and_no_two_that_touch(found: list[Days]) -> None:
    joined = union(found)
    assert each_day(joined) == sorted(set(each_day(found)))
    assert all(one.last + timedelta(days=1) < two.first for one, two in pairwise(joined))


@given(stretches, st.lists(stretches))
def test_a_gap_is_what_is_wanted_and_not_there(wanted: Days, there: list[Days]) -> None:
    assert each_day(without(wanted, there)) == sorted(
        set(each_day([wanted])) - set(each_day(there))
    )


@given(st.lists(stretches), st.integers(1, 40))
def test_windows_are_the_gaps_in_pieces_newest_first(found: list[Days], days_max: int) -> None:
    pieces = windows(found, days_max)
    assert sorted(each_day(pieces)) == sorted(set(each_day(found)))
    assert pieces == sorted(pieces, reverse=True)
    assert all((each.last - each.first).days < days_max for each in pieces)


@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from(STATES))), stretches)
def test_gaps_are_never_fetched_failed_or_shrunk(rows: list[tuple[int, str]], wanted: Days) -> None:
    covered, at = [], 0
    for length, state in rows:
        covered.append(Covered(days(at, at + length - 1), state, 1, None))
        at += length
    known = {
        day
        for row in covered
        if row.state in ("fetched", "not_available")
        for day in each_day([row.days])
    }
    found = set(each_day(gaps(wanted, covered)))
    assert found & set(each_day([wanted])) == set(each_day([wanted])) - known
    whole = {day for row in covered if row.state == "shrunk" for day in each_day([row.days])}
    assert found - set(each_day([wanted])) <= whole


def test_months_end_on_their_last_day() -> None:
    assert months_before(date(2026, 11, 21), 24) == date(2024, 11, 21)
    assert months_before(date(2026, 3, 31), 1) == date(2026, 2, 28)
    assert months_before(date(2024, 2, 29), 12) == date(2023, 2, 28)
    assert months_before(date(2026, 1, 15), 1) == date(2025, 12, 15)
    assert months_before(date(2026, 12, 31), 6) == date(2026, 6, 30)


def account(name: str, kind: str = "item") -> Account:
    return Account("home", name, name, kind, f"{kind} 1", None, f"{kind} 1")


def test_accounts_that_miss_the_same_days_are_asked_for_together() -> None:
    wanted = days(0, 99)
    known = {("home", "c"): [Covered(days(0, 89), "fetched", 3, None)]}
    steps = plan([account("a"), account("b"), account("c")], known, wanted)
    assert [(step.request, step.accounts, step.days) for step in steps] == [
        (WINDOW, ("a", "b"), days(70, 99)),
        (WINDOW, ("a", "b"), days(40, 69)),
        (WINDOW, ("a", "b"), days(10, 39)),
        (WINDOW, ("a", "b"), days(0, 9)),
        (WINDOW, ("c",), days(90, 99)),
    ]
    assert WINDOW_DAYS == 30


def test_a_plan_is_read_once_however_long_its_gaps_are() -> None:
    steps = plan([account("a", "plan"), account("b", "plan")], {}, days(0, 700))
    assert [(step.request, step.collection, step.accounts) for step in steps] == [
        (RESYNC, "plan 1/transactions", ("a", "b")),
        (RESYNC, "plan 1/subtransactions", ()),
    ]
