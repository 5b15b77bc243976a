"""The request log: never above the hour's limit, over restarts, processes and lost databases."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from cdc.quota import ALONE, ALONE_GAP_SECONDS, HOUR_SECONDS, HourlyQuota, QuotaSpent
from cdc.runtime.errors import Unavailable
from cdc.runtime.postgres import Connection, PostgresTarget
from cdc.sources.protocol import Checkpoint
from cdc.sources.ynab import YnabSource
from cdc.sources.ynab_api import YnabApi
from compose.simulators.ynab import TOKEN as SIMULATED
from compose.simulators.ynab import YnabSimulator
from compose.simulators.ynab_household import YnabSize
from schemas.sql import schema

TOKEN = "a-personal-access-token"
START = 1_800_000_000.0
ALLOWED = 200


class Time:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Control:
    """The control database, which may be away. Thousands of errands share its connections."""

    def __init__(self, dsn: str) -> None:
        self.target = PostgresTarget(dsn=dsn)
        self.away = False
        self.asked = 0
        self.idle: list[Connection] = []

    async def connect(self) -> Connection:
        self.asked += 1
        if self.away:
            raise Unavailable("nobody there")
        found = self.idle.pop() if self.idle else await self.target.connect()
        lent: Any = Lent(found, self.idle)
        return lent


class Lent:
    """A connection of which a close is the end of an errand only."""

    def __init__(self, connection: Connection, idle: list[Connection]) -> None:
        self._connection = connection
        self._idle = idle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def close(self, timeout: float | None = None) -> None:
        assert not self._connection.is_in_transaction()
        if not self._connection.is_closed():
            self._idle.append(self._connection)


@pytest.fixture
async def control(database: str) -> AsyncIterator[Control]:
    found = Control(database)
    connection = await found.target.connect()
    await connection.execute(schema())
    await connection.close()
    yield found
    for each in found.idle:
        await each.close()


def busiest_hour(times: list[float]) -> int:
    return max(sum(1 for each in times if start <= each < start + HOUR_SECONDS) for start in times)


async def taken(quota: HourlyQuota, times: list[float], now: float) -> float | None:
    """Takes one; None, or how long to wait."""
    try:
        await quota.take()
    except QuotaSpent as error:
        assert error.retry_after_seconds is not None
        assert error.retry_after_seconds > 0
        return error.retry_after_seconds
    times.append(now)
    return None


async def test_the_limit_holds_over_restarts_and_tells_when_to_come_back(control: Control) -> None:
    time = Time()
    times: list[float] = []
    wait = None
    while wait is None:
        quota = HourlyQuota(TOKEN, control.connect, now=time)  # every request a new process
        wait = await taken(quota, times, time.now)
        time.now += 0.5
    assert len(times) == 180
    assert quota.left == 0
    time.now += wait - 2
    assert await taken(quota, times, time.now) is not None
    time.now += 2
    assert await taken(quota, times, time.now) is None
    assert busiest_hour(times) <= ALLOWED


async def test_processes_share_one_log_and_tokens_do_not(control: Control) -> None:
    time = Time()
    times: list[float] = []
    processes = [HourlyQuota(TOKEN, control.connect, now=time) for _ in range(3)]
    for _ in range(70):
        await asyncio.gather(*(taken(each, times, time.now) for each in processes))
        time.now += 1
    assert len(times) == 180
    other = HourlyQuota("another token", control.connect, now=time)
    assert await taken(other, [], time.now) is None
    assert other.left == 179


async def test_the_token_itself_is_not_stored(control: Control) -> None:
    await HourlyQuota(TOKEN, control.connect, now=Time()).take()
    connection = await control.connect()
    stored = await connection.fetchval("SELECT credential FROM sync.api_requests")
    await connection.close()
    assert TOKEN not in stored


async def test_without_the_database_few_requests_are_made_and_written_down_later(
    control: Control,
) -> None:
    time = Time()
    times: list[float] = []
    quota = HourlyQuota(TOKEN, control.connect, now=time)
    await quota.take()
    control.away = True
    assert await taken(quota, times, time.now) is not None
    for _ in range(int(2 * HOUR_SECONDS // 60)):
        time.now += 60
        await taken(quota, times, time.now)
    assert quota.alone
    assert ALONE <= busiest_hour(times) <= ALONE + 1
    control.away = False
    time.now += ALONE_GAP_SECONDS / 2
    await quota.take()
    assert not quota.alone
    written = sum(1 for each in times if each > time.now - HOUR_SECONDS - 120)
    assert quota.left == 180 - written - 1


async def test_a_process_that_restarts_without_the_database_asks_nothing(control: Control) -> None:
    time = Time()
    times: list[float] = []
    control.away = True
    for _ in range(200):
        await taken(HourlyQuota(TOKEN, control.connect, now=time), times, time.now)
        time.now += 10
    assert not times


@pytest.mark.parametrize("seed", range(1))
async def test_no_hour_of_a_day_is_ever_above_the_limit(control: Control, seed: int) -> None:
    """24 simulated hours: two hungry processes, restarts, and a database that comes and goes."""
    chance = random.Random(seed)
    time = Time()
    times: list[float] = []
    processes = [HourlyQuota(TOKEN, control.connect, now=time) for _ in range(2)]
    while time.now < START + 24 * HOUR_SECONDS:
        if chance.random() < 0.01:
            control.away = not control.away
        if chance.random() < 0.05:
            processes[chance.randrange(2)] = HourlyQuota(TOKEN, control.connect, now=time)
        waits = [await taken(each, times, time.now) for each in processes]
        hungry = min((wait for wait in waits if wait is not None), default=1.0)
        time.now += chance.choice([5.0, 30.0, min(hungry, 900.0)])
    assert busiest_hour(times) <= ALLOWED, f"seed {seed}"
    assert len(times) > 24 * 30  # and it is not by doing nothing


async def test_a_hungry_daemon_never_meets_ynabs_own_limit(control: Control) -> None:
    """Three simulated hours against a server that counts: restarts, errors, edits, no rest."""
    chance = random.Random(1)
    async with YnabSimulator([YnabSize(transactions=50, years=1)]) as sim:

        def now() -> float:
            return sim.clock.now().timestamp()

        def daemon() -> YnabSource:
            quota = HourlyQuota(TOKEN, control.connect, now=now)
            api = YnabApi(SIMULATED, quota, now=now, base_url=sim.base_url)
            return YnabSource("y", api, now=now, pause=pause, poll_seconds=1.0)

        async def pause(seconds: float) -> None:
            sim.clock.advance(seconds)

        start = now()
        source, place = daemon(), None
        while now() < start + 3 * HOUR_SECONDS:
            if chance.random() < 0.02:
                await source.close()
                source = daemon()
            if chance.random() < 0.1:
                sim.plan().move_money("Pets", "Groceries", 1_000)
            if chance.random() < 0.2:
                sim.fail_next("status", status=chance.choice([500, 502]))
            try:
                (stream,) = await source.open()
                place = await source.seek(stream, place)
                for _ in range(20):
                    async for item in source.changes(stream, wait_seconds=30.0):
                        if isinstance(item, Checkpoint):
                            place = item
            except QuotaSpent as error:
                sim.clock.advance(min(error.retry_after_seconds or 60.0, 600.0))
            except Unavailable:
                sim.clock.advance(1.0)
        await source.close()
        answered = Counter(each.status for each in sim.requests())
        times = [datetime.fromisoformat(each.at).timestamp() for each in sim.requests()]
        assert answered.keys() == {200, 500, 502}  # never 429
        assert busiest_hour(times) <= 180
        assert len(times) > 3 * 60
