"""The household's part of the demo: one purchase by two feeds, and whether the rows are right."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from compose.demo.compare import SHOWN_MAX, Difference
from compose.demo.compare_feeds import compare_feeds, purchase_differences
from compose.demo.daemons import run_to_end
from compose.demo.feeds import BANK_SOURCE, PLAN_SOURCE, Feeds
from compose.demo.screen import Picture, Screen
from compose.stack.process import until

READ_SECONDS_MAX = 120.0
ASKED_SECONDS_MAX = 120.0
"""YNAB is asked every few seconds; less often, the more of an hour's requests are used."""
SETTLED_SECONDS = 6.0
"""Differences that stay for so long once both were asked are differences."""
LOOK_SECONDS = 0.25


class Household:
    """Both feeds with the tables they become. `folder`: for what the jobs' commands say."""

    def __init__(
        self,
        feeds: Feeds,
        postgres: "asyncpg.Connection[asyncpg.Record]",
        screen: Screen,
        environment: Mapping[str, str],
        folder: Path,
    ) -> None:
        self.feeds = feeds
        self._postgres = postgres
        self._screen = screen
        self._environment = environment
        self._log = folder / "deduplicate.log"
        self._reading = asyncio.Lock()

    async def show(self, picture: Picture) -> None:
        """Bring its part of the picture up to now."""
        async with self._reading:
            picture.feeds = await self.feeds.look(self._postgres)
            picture.purchase = await self.feeds.seen_purchase(self._postgres)

    async def purchase(self, source_alive: asyncio.Lock) -> None:
        """One purchase appears at YNAB and at the bank, becomes two rows, and counts once.

        `source_alive` is held for the job, which the source's process carries out.
        """
        await until(self._read, READ_SECONDS_MAX, "the first read of YNAB and Plaid")
        self._screen.say("a coffee is bought: typed in at YNAB, told by the bank (Plaid)")
        self.feeds.purchase()

        async def both() -> bool:
            async with self._reading:
                return len(await self.feeds.seen_purchase(self._postgres)) == 2

        await until(both, ASKED_SECONDS_MAX, "the purchase by both feeds")
        async with source_alive:
            await run_to_end(
                ["jobs", "run", "deduplicate", "--wait", "--json"], self._environment, self._log
            )
        async with self._reading:
            rows = await self.feeds.seen_purchase(self._postgres)
        counted = sum(row.counted for row in rows)
        self._screen.say(
            f"`cdc jobs run deduplicate`: the coffee, {len(rows)} rows, is counted "
            f"{'once' if counted == 1 else f'{counted} times'}"
        )
        if rows:
            self._screen.say(f"the match is {rows[0].why or 'missing'}")

    async def _read(self) -> bool:
        async with self._reading:
            lines = await self.feeds.look(self._postgres)
        return sum(line.rows for line in lines) >= self.feeds.transactions

    async def compare(self, book: str) -> tuple[int, list[Difference], bool]:
        """(rows, differences, whether the purchase counts once); nothing changes any more."""

        async def asked() -> bool:
            return self.feeds.asked_since

        if not self.feeds.asked_since:
            self._screen.say("waiting until YNAB and the bank are asked for news once more")
        await until(asked, ASKED_SECONDS_MAX, "the next look at YNAB and Plaid")
        plan, item = self.feeds.plan.plan, self.feeds.item.item
        deadline = time.monotonic() + SETTLED_SECONDS
        while True:
            rows, found = await compare_feeds(
                self._postgres, book, (PLAN_SOURCE, plan), (BANK_SOURCE, item)
            )
            if not found or time.monotonic() > deadline:
                break
            await asyncio.sleep(LOOK_SECONDS)
        ids = self.feeds.purchase_ids or ("", "")
        ends = dict(zip((PLAN_SOURCE, BANK_SOURCE), ids, strict=True))
        doubled = await purchase_differences(self._postgres, book, ends)
        for each in (*found, *doubled)[:SHOWN_MAX]:
            self._screen.say(f"DIFFERENT: {each}")
        self._screen.say(
            f"compared {rows:,} rows with YNAB and the bank: {len(found):,} differences; "
            f"the coffee is {'NOT ' if doubled else ''}counted once"
        )
        return rows, [*found, *doubled], not doubled
