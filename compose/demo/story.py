"""The demo from its start to its end: read `Story.run` first."""

import asyncio
import math
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from pymongo import AsyncMongoClient

from compose.demo.company import OWNERS, PROPERTIES, Company, Document
from compose.demo.compare import SHOWN_MAX, Comparison, Difference, compare
from compose.demo.daemons import Daemon, run_to_end, stop_all
from compose.demo.feeds import Feeds
from compose.demo.household import Household
from compose.demo.life import Life
from compose.demo.screen import Picture, Screen
from compose.demo.way import Way
from compose.stack.process import until
from compose.stack.servers import Options, Stack

BOOK, SOURCE = "acme", "property"
CHANGES_PER_SECOND = 25.0
RENT_DAY_SECONDS = 7.0
KILLS_AT = ((0.3, 15.0), (0.6, 30.0))
"""Consumer, source: at this share of the time there is, and not later than so many seconds."""
CALM_SECONDS, DEAD_SECONDS = 2.0, 1.5
LOOK_SECONDS, SHOW_SECONDS, COUNT_SECONDS = 0.05, 0.25, 1.0
BUSIEST = 2
FIRST_READ_SECONDS_MAX = RECOVERY_SECONDS_MAX = QUIET_SECONDS_MAX = 120.0
SETTLED_SECONDS = 6.0
"""Differences that stay for so long once nothing is under way are differences."""
_OPTIONS = Options(durable=True, postgres_settings={"track_commit_timestamp": "on"})


class Interrupted(Exception):
    """A person ended the demo before there was anything to compare."""


@dataclass(frozen=True)
class Outcome:
    """The last line of the demo. `changes`: lived through after the first read."""

    ok: bool | None = None
    changes: int = 0
    rows: int = 0
    differences: int | None = None
    kills: int = 0
    """Of our own processes: 2, or fewer where a person ended the demo before."""
    p50_ms: float | None = None
    p99_ms: float | None = None
    events_per_second: int = 0
    """Of the first whole read: from the processes' start to the last row."""
    recovery_seconds: tuple[float, ...] = ()
    """From the start of a killed process to its last change that had waited, per kill."""
    feed_rows: int = 0
    """Of YNAB and the bank, compared with what stands there; differences count above."""
    purchase_counted_once: bool | None = None


class Story:
    """One run. `told` is set when a person asks for the end; `seconds` None: only then."""

    def __init__(
        self,
        folder: Path,
        seconds: float | None,
        company: Company,
        feeds: Feeds,
        screen: Screen,
        told: asyncio.Event,
    ) -> None:
        self._seconds = seconds
        self._screen = screen
        self._told = told
        self._company = company
        self._stack = Stack(folder, _OPTIONS, screen.say)
        self._feeds = feeds
        self._config = folder / "ledger.toml"
        configured = {"CDC_BOOK": BOOK, "CDC_CONFIG": str(self._config)}
        environment = {**self._stack.environment, **configured}
        self._environment = environment
        self._source = Daemon("run", environment, folder / "source.log")
        self._consumer = Daemon("consume", environment, folder / "consumer.log")
        self._picture = Picture()
        self._steady = asyncio.Lock()
        """Held while a process of ours is dead, and while a job needs it alive."""
        self._kills = 0
        self._recoveries: list[float] = []
        self._events_per_second = 0

    async def run(self) -> Outcome:
        """The whole story. StackError: something is missing or broke."""
        try:
            await self._unless_told(self._start_servers())
            client: AsyncMongoClient[Document] = AsyncMongoClient(self._stack.mongo.uri)
            postgres = await asyncpg.connect(self._stack.postgres.uri)
            further = await asyncpg.connect(self._stack.postgres.uri)
            async with client, self._feeds:
                self._feeds.configure(self._config)
                life = Life(client, self._company)
                way = Way(postgres, BOOK, SOURCE)
                folder = self._stack.folder
                home = Household(self._feeds, further, self._screen, self._environment, folder)
                await self._unless_told(self._found(life, way))
                await self._live(life, way, home)
                await self._become_quiet(life, way)
                comparison = await self._compare(client, postgres)
                feeds = await home.compare(BOOK)
            return self._outcome(way, comparison, feeds)
        finally:
            self._screen.close()
            await stop_all([self._source, self._consumer])
            await self._stack.kill()

    async def delete(self) -> None:
        """Remove everything the run kept on disk."""
        await self._stack.delete()

    async def _unless_told(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work`; Interrupted when a person does not want to wait for it."""
        working = asyncio.create_task(work)
        telling = asyncio.create_task(self._told.wait())
        try:
            await asyncio.wait({working, telling}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise Interrupted
            await working
        finally:
            telling.cancel()
            if working.cancel():
                await asyncio.wait([working])

    async def _start_servers(self) -> None:
        self._screen.say(
            "starting MongoDB (a replica set), Apache Kafka and PostgreSQL as plain processes on "
            "free ports of 127.0.0.1; nothing is installed outside of this folder"
        )
        await self._stack.delete()  # what a killed demo may have left
        await self._stack.start()

    async def _found(self, life: Life, way: Way) -> None:
        """The company as it stands, then our processes, then all of it in the books."""
        self._screen.say(
            f"writing {PROPERTIES} properties, {OWNERS} people and "
            f"{self._company.history:,} payments into MongoDB"
        )
        documents, *_ = await asyncio.gather(
            life.found(),
            run_to_end(["migrate"], self._environment, self._stack.folder / "migrate.log"),
            run_to_end(["topics"], self._environment, self._stack.folder / "topics.log"),
        )
        self._screen.say("`cdc migrate` made the tables, `cdc topics` the topics")
        began = time.time()
        self._source.start()
        self._consumer.start()
        self._screen.say("`cdc run`, `cdc consume` started: everything is read whole, once")
        self._picture.expected = documents
        self._picture.source = self._picture.consumer = "starting"
        deadline = began + FIRST_READ_SECONDS_MAX

        async def all_there() -> bool:
            self._source.check()
            self._consumer.check()
            self._picture.rows = await way.rows()
            self._screen.show(self._picture)
            return self._picture.rows >= documents

        await until(all_there, deadline - time.time(), f"the first read of {documents:,} documents")
        seconds = time.time() - began
        self._events_per_second = round(documents / seconds)
        self._screen.say(
            f"{documents:,} documents are rows, {seconds:.1f} s after the start "
            f"({self._events_per_second:,}/s)"
        )

    async def _live(self, life: Life, way: Way, home: Household) -> None:
        """Let the company live until the time is over; meanwhile, kill our own processes."""
        over = asyncio.Event()
        began = time.monotonic()

        async def clock() -> None:
            await self._sleep(self._seconds)
            await crashing
            await purchase
            over.set()

        try:
            async with asyncio.TaskGroup() as group:
                crashing = group.create_task(self._crashes(way, began))
                group.create_task(clock())
                group.create_task(self._write(life, way, over))
                group.create_task(self._watch(way, home, over))
                group.create_task(self._feeds.live(over))
                purchase = group.create_task(home.purchase(self._steady))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _sleep(self, seconds: float | None) -> bool:
        """Rest for so long (None: for ever), or until told; whether we were told."""
        try:
            await asyncio.wait_for(self._told.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _write(self, life: Life, way: Way, over: asyncio.Event) -> None:
        rent_day = time.monotonic() + RENT_DAY_SECONDS / 2
        while not over.is_set() and not self._told.is_set():
            if time.monotonic() > rent_day:
                rent_day += RENT_DAY_SECONDS
                way.add(await life.rent_day())
            way.add(await life.step())
            await asyncio.sleep(self._company.rng.expovariate(CHANGES_PER_SECOND))

    async def _watch(self, way: Way, home: Household, over: asyncio.Event) -> None:
        """Look, and draw, until the end: the only user of the connection meanwhile."""
        shown = counted = 0.0
        while not over.is_set():
            self._source.check()
            self._consumer.check()
            await way.look()
            now = time.monotonic()
            if now - counted > COUNT_SECONDS:
                counted = now
                await self._count(way)
                await home.show(self._picture)
            if now - shown > SHOW_SECONDS:
                shown = now
                self._show(way)
            await asyncio.sleep(LOOK_SECONDS)

    async def _count(self, way: Way) -> None:
        self._picture.busiest = await way.busiest(BUSIEST)
        self._picture.rows = await way.rows()
        self._picture.dead_letters = await way.dead_letters()
        if self._source.pid is not None:
            self._picture.source = await way.source_state() or "starting"
        if self._consumer.pid is not None:
            self._picture.consumer = "applying"

    def _show(self, way: Way) -> None:
        picture = self._picture
        picture.written, picture.arrived = way.written, way.arrived
        picture.unmappable = way.unmappable
        picture.under_way, picture.lag_seconds = way.under_way, way.lag_seconds
        picture.per_second = way.per_second
        picture.p50_ms, picture.p99_ms = way.percentile(0.5), way.percentile(0.99)
        picture.last = list(way.last)
        self._screen.show(picture)

    async def _crashes(self, way: Way, began: float) -> None:
        for (share, latest), daemon in zip(KILLS_AT, (self._consumer, self._source), strict=True):
            at = latest if self._seconds is None else min(share * self._seconds, latest)
            if await self._sleep(max(CALM_SECONDS, began + at - time.monotonic())):
                return
            async with self._steady:
                await self._crash(daemon, way)

    async def _crash(self, daemon: Daemon, way: Way) -> None:
        """SIGKILL, a while of nothing, a new start; it is back when nothing old is under way."""
        name = "source" if daemon is self._source else "consumer"
        way.calm_since = math.inf
        self._screen.say(f"SIGKILL to our own {name} (process {daemon.pid}); the company lives on")
        await daemon.kill()
        self._kills += 1
        setattr(self._picture, name, "killed")
        await asyncio.sleep(DEAD_SECONDS)
        began = time.time()
        waiting = way.under_way
        daemon.start()
        setattr(self._picture, name, "starting again")

        async def caught_up() -> bool:
            return way.waiting_since_before(began) == 0

        await until(caught_up, RECOVERY_SECONDS_MAX, f"the recovery of the {name}")
        seconds = time.time() - began
        self._recoveries.append(round(seconds, 2))
        way.calm_since = time.time()
        self._screen.say(
            f"the {name} is back: the {waiting} that waited arrived, once, in {seconds:.2f} s"
        )

    async def _become_quiet(self, life: Life, way: Way) -> None:
        self._screen.say("the company rests; waiting until everything has arrived")
        way.add(await life.mend())

        async def quiet() -> bool:
            self._source.check()
            self._consumer.check()
            await way.look()
            return way.under_way == 0

        await until(quiet, QUIET_SECONDS_MAX, "the arrival of the last changes")
        self._show(way)
        self._screen.say(
            f"{way.written:,} changes: {way.arrived:,} arrived, {way.unmappable} had no amount "
            "(dead letters, until a later change filled it in)"
        )
        if self._kills < len(KILLS_AT):
            self._screen.say(
                f"ended before its time: {self._kills} of {len(KILLS_AT)} kills were shown"
            )

    async def _compare(
        self,
        client: AsyncMongoClient[Document],
        postgres: "asyncpg.Connection[asyncpg.Record]",
    ) -> Comparison:
        deadline = time.monotonic() + SETTLED_SECONDS
        while True:
            found = await compare(client.get_default_database(), postgres, BOOK, SOURCE)
            if not found.differences or time.monotonic() > deadline:
                break
            await asyncio.sleep(SHOW_SECONDS)
        self._screen.close()
        for each in found.differences[:SHOWN_MAX]:
            self._screen.say(f"DIFFERENT: {each}")
        verdict = "not one differs" if not found.differences else "THEY ARE NOT EQUAL"
        self._screen.say(
            f"compared {found.rows:,} rows and {found.accounts} balances with MongoDB's documents, "
            f"by code of its own: {len(found.differences):,} differences, {verdict}"
        )
        return found

    def _outcome(
        self, way: Way, comparison: Comparison, feeds: tuple[int, list[Difference], bool]
    ) -> Outcome:
        feed_rows, feed_differences, once = feeds
        p50, p99 = way.percentile(0.5), way.percentile(0.99)
        return Outcome(
            ok=not comparison.differences and not feed_differences,
            changes=way.written,
            rows=comparison.rows,
            differences=len(comparison.differences) + len(feed_differences),
            kills=self._kills,
            p50_ms=None if p50 is None else round(p50, 1),
            p99_ms=None if p99 is None else round(p99, 1),
            events_per_second=self._events_per_second,
            recovery_seconds=tuple(self._recoveries),
            feed_rows=feed_rows,
            purchase_counted_once=once,
        )
