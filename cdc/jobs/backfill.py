"""The history of a source's accounts: what is missing of it is found, and only that is fetched.

Parameters: ``source``; ``months`` (default 24), or ``from`` and ``to``; ``account`` (only this
one); ``target``; ``dry_run`` (tell the gaps, fetch nothing).

A gap is what was never fetched, what failed, and what has shrunk: fetched days of which the table
holds fewer rows than were told. Gaps are asked of the source's owner in windows, the newest first,
two at a time for each feed; it weaves them into its stream, so live polling goes on beside it and
wins by version. A window counts as finished, and is never fetched again, once it is published.

Bank items (Plaid) are read in windows of 30 days. A plan of YNAB is not: any stretch of it is told
in one answer, which lacks deletions and costs as much of the quota as reading all of it, which
does not. So its gaps are closed by one whole read (three requests), however long they are.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, NamedTuple

from cdc.jobs import coverage
from cdc.jobs.coverage import Account, Coverage
from cdc.jobs.days import Days, months_before, union, windows
from cdc.jobs.fetching import Fetching
from cdc.jobs.model import Job, Params, Result
from cdc.jobs.steps import Step
from cdc.jobs.tools import Said, Tools
from cdc.operation.asked import RESYNC, WINDOW
from cdc.runtime.errors import LedgerError, Refused, SettingsError, Unavailable
from cdc.runtime.postgres import Connection, session

MONTHS, MONTHS_MAX = 24, 1200
WINDOW_DAYS = 30
ACCOUNTS_TOLD_MAX = 200


class Wish(NamedTuple):
    """``days`` None: so many months until today."""

    source: str
    days: Days | None
    months: int
    account: str | None
    target: str | None
    dry_run: bool


def check(params: Params) -> Wish:
    said = Said("backfill", params)
    source, months = said.needed("source"), said.numbers("months") or (MONTHS,)
    first, last = said.day("from"), said.day("to")
    if len(months) != 1 or not 1 <= months[0] <= MONTHS_MAX:
        raise SettingsError("months is no number of months", hint=f"from 1 to {MONTHS_MAX}")
    today = datetime.now(UTC).date()
    last_day = min(last or today, today)
    days = Days(first or months_before(last_day, months[0]), last_day) if first or last else None
    if days is not None and days.first > days.last:
        raise SettingsError(f"from {days.first} is after {days.last}", hint="no day is left")
    wish = Wish(
        *(source, days, months[0], said.text("account"), said.text("target")),
        said.flag("dry_run"),
    )
    said.nothing_else()
    return wish


async def run(job: Job, tools: Tools) -> Result:
    """What was fetched, and what is known of each account's days now."""
    wish = check(job.params)
    if wish.source not in tools.sources:
        raise SettingsError(f"no source {wish.source} is configured here")
    async with session(tools.budget(wish.target)) as rows, session(tools.control) as control:
        chosen = await coverage.accounts(rows, wish.source, wish.account)
        if not chosen:
            which = f"account {wish.account}" if wish.account else "accounts"
            raise Refused(
                f"the tables hold no {which} of {wish.source}",
                hint="they come with the first read of a source of type ynab or plaid",
            )
        today = datetime.now(UTC).date()
        wanted = wish.days or Days(months_before(today, wish.months), today)
        if job.cursor is None:
            known = await coverage.read(rows, wish.source)
            steps = plan(chosen, known, wanted)
            if wish.dry_run:
                return Result(_document(wish, chosen, known, wanted, steps) | {"dry_run": True})
            await coverage.keep_shrunk(rows, wish.source, known)
            await tools.note({"done": 0, "total": len(steps)}, [step.plain() for step in steps])
        else:
            steps = [Step.of(each) for each in job.cursor]
        work = Fetching(job, tools, wish.source, steps, rows, control)
        await work.run()
        await _settle(rows, wish.source, chosen)
        known = await coverage.read(rows, wish.source)
    _raise_failed(work, wish.source)
    tools.log.info("backfill completed", source=wish.source, count=len(steps), rows=work.rows)
    return Result(_document(wish, chosen, known, wanted, steps) | {"rows": work.rows})


def plan(accounts: Iterable[Account], known: Coverage, wanted: Days) -> list[Step]:
    """Accounts of a feed that miss the same days are asked for together."""
    missing: dict[tuple[str, str, str, str, tuple[Days, ...]], list[str]] = {}
    for each in accounts:
        gaps = tuple(coverage.gaps(wanted, known.get((each.book, each.id), ())))
        if gaps:
            place = (each.book, each.stream, each.kind, each.feed, gaps)
            missing.setdefault(place, []).append(each.id)
    steps: list[Step] = []
    for (book, stream, kind, _feed, gaps), ids in missing.items():
        collection = f"{stream}/transactions"
        if kind == "item":
            steps += [
                Step(WINDOW, book, collection, days, tuple(ids))
                for days in windows(gaps, WINDOW_DAYS)
            ]
            continue
        stretch = Days(gaps[0].first, gaps[-1].last)
        steps.append(Step(RESYNC, book, collection, stretch, tuple(ids)))
        steps.append(Step(RESYNC, book, f"{stream}/subtransactions", stretch, ()))
    return list(dict.fromkeys(steps))


async def _settle(connection: Connection, source: str, chosen: list[Account]) -> None:
    """What lies before all that a feed tells is not available."""
    every = await coverage.accounts(connection, source, None)
    known = await coverage.read(connection, source)
    feeds = {(each.book, each.feed) for each in chosen}
    for (book, feed), group in groupby(every, key=lambda each: (each.book, each.feed)):
        if (book, feed) not in feeds:
            continue
        found = list(group)
        days = [each.first_month for each in found if each.kind != "item" and each.first_month]
        for each in found:
            rows = known.get((book, each.id), ())
            days += [row.first_date for row in rows if row.first_date is not None]
        ids = [each.id for each in found]
        await coverage.settle(connection, (book, source), ids, min(days, default=None))


def _raise_failed(work: Fetching, source: str) -> None:
    """Raises where windows failed: what may pass is tried again by the job's next attempt."""
    if not work.failed:
        return
    number, reason = next(iter(work.failed.items()))
    kind: type[LedgerError] = Unavailable if work.may_pass else Refused
    days = work.steps[number].days
    raise kind(
        f"{len(work.failed)} of {len(work.steps)} windows failed, as {days.first} to {days.last}:"
        f" {reason}",
        subject=source,
        hint="what is fetched stays; the next backfill fetches only what failed",
    )


def _document(
    wish: Wish, chosen: list[Account], known: Coverage, wanted: Days, steps: list[Step]
) -> dict[str, Any]:
    return {
        "source": wish.source,
        "from": wanted.first.isoformat(),
        "to": wanted.last.isoformat(),
        "windows": len(steps),
        "accounts": [_account(each, known, wanted) for each in chosen[:ACCOUNTS_TOLD_MAX]],
    }


def _account(account: Account, known: Coverage, wanted: Days) -> dict[str, Any]:
    """Its days by state; each stretch is a pair of dates."""
    rows = known.get((account.book, account.id), [])

    def stretches(*states: str) -> list[list[str]]:
        return _texts(union(each.days for each in rows if each.state in states))

    return {
        "account": account.id,
        "name": account.name,
        "transactions": sum(each.transactions for each in rows),
        "fetched": stretches(coverage.FETCHED),
        "not_available": stretches(coverage.NOT_AVAILABLE),
        "failed": stretches(coverage.FAILED),
        "shrunk": stretches(coverage.SHRUNK),
        "gaps": _texts(coverage.gaps(wanted, rows)),
    }


def _texts(found: Iterable[Days]) -> list[list[str]]:
    return [[each.first.isoformat(), each.last.isoformat()] for each in found]
