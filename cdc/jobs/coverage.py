"""Which days of an account's history are known: rows of ``budget.coverage``, read and written.

Rows of an account never overlap. They are written only for days whose events are published, so
what stands here as fetched is never fetched again, whatever dies in between.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from cdc.jobs.days import Days, union, without
from cdc.runtime.postgres import Connection, transaction, translated
from schemas.sql import query

FETCHED, SHRUNK, FAILED, NOT_AVAILABLE = "fetched", "shrunk", "failed", "not_available"
KNOWN = (FETCHED, NOT_AVAILABLE)
"""What is no gap."""


class Account(NamedTuple):
    """``feed``: its item or plan; ``stream``: the stream of the source that brings it."""

    book: str
    id: str
    name: str
    kind: str
    feed: str
    first_month: date | None
    stream: str


class Covered(NamedTuple):
    """A row of an account's coverage."""

    days: Days
    state: str
    transactions: int
    first_date: date | None


class Count(NamedTuple):
    """Transactions of an account in some days, and the day of the oldest."""

    transactions: int = 0
    first_date: date | None = None


Coverage = dict[tuple[str, str], list[Covered]]
"""By book and account; in order."""


async def accounts(connection: Connection, source: str, account: str | None) -> list[Account]:
    """The live accounts of a source, or the one of that id."""
    with translated("read accounts", source):
        rows = await connection.fetch(query("backfill_accounts"), source, account)
    names = Account._fields
    return [Account(*(row[name] for name in names)) for row in rows]


async def read(connection: Connection, source: str) -> Coverage:
    """Of all accounts of a source; days of which rows were lost since are *shrunk*."""
    found: Coverage = {}
    with translated("read coverage", source):
        rows = await connection.fetch(query("read_coverage"), source)
        shrunk = {
            (row["book"], row["account_id"], row["from_date"])
            for row in await connection.fetch(query("shrunk_coverage"), source)
        }
    for row in rows:
        key = (row["book"], row["account_id"])
        state = SHRUNK if (*key, row["from_date"]) in shrunk else row["state"]
        days = Days(row["from_date"], row["to_date"])
        found.setdefault(key, []).append(
            Covered(days, state, row["transactions"], row["first_date"])
        )
    return found


async def keep_shrunk(connection: Connection, source: str, coverage: Coverage) -> None:
    """What was found shrunk stays so until it is fetched again."""
    keys = [
        (book, source, account, each.days.first)
        for (book, account), rows in coverage.items()
        for each in rows
        if each.state == SHRUNK
    ]
    async with transaction(connection, "mark shrunk"):
        await connection.executemany(query("mark_shrunk"), keys)


def gaps(wanted: Days, rows: Sequence[Covered]) -> list[Days]:
    """The days of ``wanted`` that are not known, and all of a row that has shrunk in them."""
    known = [each.days for each in rows if each.state in KNOWN]
    shrunk = [
        each.days
        for each in rows
        if each.state == SHRUNK
        and each.days.first <= wanted.last
        and each.days.last >= wanted.first
    ]
    return union([*without(wanted, known), *shrunk])


async def record(
    connection: Connection,
    where: tuple[str, str],
    days: Days,
    counts: Mapping[str, Count],
    error: str | None = None,
) -> None:
    """These days of these accounts are fetched, or failed for a reason. ``where``: book, source.

    Days of older rows beyond them stay as they were, without a count (it was one for the whole).
    """
    book, source = where
    state = FETCHED if error is None else FAILED
    rows: list[tuple[Any, ...]] = []
    async with transaction(connection, "store coverage"):
        for account, count in counts.items():
            place = (book, source, account)
            for old in await connection.fetch(query("take_out_coverage"), *place, *days):
                old_days = Days(old["from_date"], old["to_date"])
                rows += [
                    (*place, *left, old["state"], 0, None, old["detail"])
                    for left in without(old_days, [days])
                ]
            rows.append((*place, *days, state, *count, error))
        await connection.executemany(query("add_coverage"), rows)


async def count_rows(
    connection: Connection, where: tuple[str, str], days: Days, ids: Sequence[str]
) -> dict[str, Count]:
    """What the table holds of these days, by account."""
    with translated("count transactions"):
        rows = await connection.fetch(query("count_transactions"), *where, list(ids), *days)
    return {row["account_id"]: Count(row["transactions"], row["first_date"]) for row in rows}


async def gone(
    connection: Connection, where: tuple[str, str], days: Days, ids: Sequence[str]
) -> list[str]:
    """Transactions that live polling has seen go."""
    with translated("read deleted transactions"):
        rows = await connection.fetch(query("gone_transactions"), *where, list(ids), *days)
    return [row["id"] for row in rows]


async def settle(
    connection: Connection,
    where: tuple[str, str],
    ids: Sequence[str],
    oldest: date | None,
) -> None:
    """Days before ``oldest`` (the first that the feed tells; None: it tells none), if they were
    asked for and empty, are not available. Before a failure they wait for its days."""
    async with transaction(connection, "settle coverage"):
        if oldest is not None:
            await connection.execute(query("split_coverage"), *where, list(ids), oldest)
        await connection.execute(query("settle_coverage"), *where, list(ids), oldest)
