"""The steps of a backfill, asked of the source's owner and waited for.

Its requests are its memory: each carries the number of its step, so a runner that takes the job
over finds what was asked, what is published, and what is left. Nothing is asked twice but what
failed.
"""

import asyncio
from collections import Counter
from datetime import date
from typing import Any

from cdc.jobs import coverage
from cdc.jobs.coverage import Count
from cdc.jobs.model import Job
from cdc.jobs.steps import Step
from cdc.jobs.tools import Tools
from cdc.operation import requests
from cdc.operation.asked import WINDOW
from cdc.runtime.postgres import Connection

LOOK_SECONDS = 0.1
TOGETHER = 2
"""So many requests of a feed are open: the owner reads one while it publishes the other."""
TRIES_MAX = 3
"""Of a window that the bank asked us to wait for."""
WAIT_SECONDS_MAX = 300.0
FAILURES_MAX = 3
"""After so many in a row a feed is not asked any more."""
SILENT_SECONDS_MAX = 900.0
"""So long nothing may come of what a feed was asked for."""


class Fetching:
    """``rows``: transactions told. ``failed``: why, by the number of the step."""

    def __init__(
        self,
        job: Job,
        tools: Tools,
        source: str,
        steps: list[Step],
        tables: Connection,
        control: Connection,
    ) -> None:
        self.steps = steps
        self.rows = 0
        self.failed: dict[int, str] = {}
        self.may_pass = False
        self._asker = f"job {job.id}"
        self._tools = tools
        self._source = source
        self._tables = tables
        self._control = control
        self._left = dict(enumerate(steps))
        self._open: dict[int, int] = {}
        """Requests that have not ended, by step."""
        self._tries: Counter[int] = Counter()
        self._failures: Counter[str] = Counter()
        self._resting: dict[str, float] = {}
        self._moved_at: dict[str, float] = {}
        self._clock = asyncio.get_running_loop().time
        self._began_at = self._clock()
        self._before = (0, 0)

    async def run(self) -> None:
        """Until every step is done or has failed."""
        found = await requests.of(self._control, self._asker)
        for number, request in found.items():
            if request.state == requests.DONE:
                await self._done(number, request)
            elif not request.ended:
                self._open[number] = request.id
        self._before = (len(self.steps) - len(self._left), self.rows)
        while self._left:
            await self._ask()
            await self._tools.note(self.progress())
            await asyncio.sleep(LOOK_SECONDS)
            await self._look()
        await self._tools.note(self.progress())

    def progress(self) -> dict[str, Any]:
        """``rows_per_second`` and ``remaining_seconds`` are of this attempt."""
        total, done = len(self.steps), len(self.steps) - len(self._left)
        seconds = max(self._clock() - self._began_at, 0.001)
        here = done - self._before[0]
        left_seconds = round(len(self._left) * seconds / here, 1) if here else None
        rate = round((self.rows - self._before[1]) / seconds, 1)
        estimate = "" if left_seconds is None else f", {left_seconds:.0f} s left"
        return {
            "done": done,
            "total": total,
            "failed": len(self.failed),
            "rows": self.rows,
            "rows_per_second": rate,
            "remaining_seconds": left_seconds,
            "step": f"{self.rows} rows, {rate:.0f}/s{estimate}",
        }

    async def _ask(self) -> None:
        """Fills up what each feed may have open."""
        now = self._clock()
        busy = Counter(self.steps[number].feed for number in self._open)
        for number, step in list(self._left.items()):
            if number in self._open or busy[step.feed] >= TOGETHER:
                continue
            if self._resting.get(step.feed, now) > now:
                continue
            if self._failures[step.feed] >= FAILURES_MAX:
                await self._fail(number, "not asked for: others of its feed failed before")
                continue
            busy[step.feed] += 1
            self._moved_at.setdefault(step.feed, now)
            self._open[number] = await requests.enqueue(
                self._control, self._source, step.request, await self._said(number), self._asker
            )

    async def _said(self, number: int) -> dict[str, Any]:
        step = self.steps[number]
        said: dict[str, Any] = {"collection": step.collection, "number": number}
        if step.request == WINDOW:
            first, last = (day.isoformat() for day in step.days)
            where = (step.book, self._source)
            gone = await coverage.gone(self._tables, where, step.days, step.accounts)
            said |= {"first": first, "last": last, "accounts": step.accounts, "left_out": gone}
        return said

    async def _look(self) -> None:
        """What has ended since."""
        found = await requests.of(self._control, self._asker)
        now = self._clock()
        for number in list(self._open):
            request, feed = found.get(number), self.steps[number].feed
            if request is None or request.id != self._open[number]:
                continue
            if not request.ended:
                if now - self._moved_at.setdefault(feed, now) > SILENT_SECONDS_MAX:
                    await self._give_up(number)
                continue
            del self._open[number]
            self._moved_at[feed] = now
            if request.state == requests.DONE:
                self._failures[feed] = 0
                await self._done(number, request)
            else:
                await self._failed(number, request)

    async def _done(self, number: int, request: requests.Request) -> None:
        """Its events are on the topics for good."""
        step = self._left.pop(number)
        where = (step.book, self._source)
        if step.request == WINDOW:
            told = {
                account: Count(objects, date.fromisoformat(first))
                for account, (objects, first) in request.progress.get("accounts", {}).items()
            }
        else:
            told = await coverage.count_rows(self._tables, where, step.days, step.accounts)
        counts = {account: told.get(account, Count()) for account in step.accounts}
        await coverage.record(self._tables, where, step.days, counts)
        self.rows += sum(count.transactions for count in counts.values())

    async def _failed(self, number: int, request: requests.Request) -> None:
        step, said = self.steps[number], request.progress
        wait_seconds = said.get("retry_after_seconds")
        self._tries[number] += 1
        if wait_seconds is not None and self._tries[number] < TRIES_MAX:
            self._resting[step.feed] = self._clock() + min(wait_seconds, WAIT_SECONDS_MAX)
            return
        self._failures[step.feed] += 1
        self.may_pass = self.may_pass or bool(said.get("may_pass"))
        await self._fail(number, request.error or f"the request is {request.state}")

    async def _give_up(self, number: int) -> None:
        reason = "the source's owner does not answer: is `cdc run` up?"
        request_id = self._open.pop(number)
        await requests.finish(self._control, request_id, requests.CANCELLED, reason)
        self._failures[self.steps[number].feed] = FAILURES_MAX
        self.may_pass = True
        await self._fail(number, reason)

    async def _fail(self, number: int, reason: str) -> None:
        step = self._left.pop(number)
        self.failed[number] = reason
        counts = {account: Count() for account in step.accounts}
        await coverage.record(
            self._tables, (step.book, self._source), step.days, counts, error=reason
        )
