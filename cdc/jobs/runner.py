"""Runs jobs inside ``cdc run``: woken by NOTIFY, a few at a time, each under a lease.

Idle, it costs one small query in half a minute. While the control database is away nothing is
begun, and what runs is let go: its lease runs out, and whoever is back first goes on at its cursor.
So a job may begin twice, and every kind must bear that.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cdc.jobs import model
from cdc.jobs.kinds import kind
from cdc.jobs.model import Job, Result
from cdc.jobs.tools import Tools
from cdc.operation.running import first_of
from cdc.runtime.errors import LedgerError, Policy, policy
from cdc.runtime.log import Log
from cdc.runtime.postgres import Connect, Connection, close, translated
from cdc.runtime.retry import wait

LOOK_SECONDS_MAX = 30.0
HOLD_SECONDS = 5.0
"""So often a lease is renewed, progress is stored, and a cancellation is looked for."""
JOBS_MAX = 2
NOTED_PER_SECOND_MAX = 2.0


@dataclass(slots=True)
class _Running:
    job: Job
    task: "asyncio.Task[Result]"
    began_at: float
    progress: dict[str, Any] | None = None
    cancelled: bool = False


class JobRunner:
    """See the module's docstring. ``tools`` of a job are these, with its own ``note`` and log."""

    def __init__(
        self,
        connect: Connect,
        tools: Tools,
        *,
        runner: str,
        log: Log,
        backoff: Callable[[int], float],
        count: Callable[[str, str, float], None] = lambda kind, outcome, seconds: None,
    ) -> None:
        """``count``: told of every run that ended (kind, outcome, seconds)."""
        self._connect = connect
        self._tools = tools
        self._runner = runner
        self._log = log
        self._backoff = backoff
        self._count = count
        self._running: dict[int, _Running] = {}
        self._awake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._connection: Connection | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``; what runs then is given back and goes on elsewhere, or later."""
        attempt, told = 0, ""
        while not stop.is_set():
            try:
                await self._session(stop)
                attempt = 0
            except LedgerError as error:
                attempt += 1
                if told != str(error):
                    told = str(error)
                    self._log.warning("jobs cannot be run", error=told)
                await wait(stop, self._backoff(attempt))

    async def _session(self, stop: asyncio.Event) -> None:
        self._connection = connection = await self._connect()
        try:
            with translated("listen for jobs"):
                await connection.add_listener(model.CHANNEL, lambda *_: self._awake.set())
                connection.add_termination_listener(lambda _: self._awake.set())
            while not stop.is_set():
                self._awake.clear()
                await self._hold(connection)
                await self._begin(connection)
                await first_of(stop, self._awake, seconds=await self._rest_seconds(connection))
                await self._finish(connection)
            await self._give_back(connection)
        finally:
            try:
                await self._let_go()
            finally:  # cancelled again while a job ends: the connection goes all the same
                self._connection = None
                await close(connection)

    async def _rest_seconds(self, connection: Connection) -> float:
        if len(self._running) >= JOBS_MAX:
            return HOLD_SECONDS
        async with self._lock:
            due = await model.next_seconds(connection)
        rest = LOOK_SECONDS_MAX if due is None else min(LOOK_SECONDS_MAX, due + 0.05)
        return min(rest, HOLD_SECONDS) if self._running else rest

    async def _begin(self, connection: Connection) -> None:
        room = JOBS_MAX - len(self._running)
        if room <= 0:
            return
        async with self._lock:
            taken = await model.take(connection, self._runner, room)
        for job_id in taken.given_up:
            self._log.warning("job given up", job=job_id, reason="its runners went away")
        for job in taken.jobs:
            log = self._log.bind(job=job.id, kind=job.kind)
            log.info("job begins", attempt=job.attempt)
            task = asyncio.create_task(self._work(job, log), name=f"job {job.id}")
            task.add_done_callback(lambda _: self._awake.set())
            began_at = asyncio.get_running_loop().time()
            self._running[job.id] = _Running(job, task, began_at)

    async def _work(self, job: Job, log: Log) -> Result:
        async def note(progress: Mapping[str, Any], cursor: Any = None) -> None:
            await self._note(job, progress, cursor)

        return await kind(job.kind).run(job, replace(self._tools, note=note, log=log))

    async def _note(self, job: Job, progress: Mapping[str, Any], cursor: Any) -> None:
        """Progress is kept for the next renewal; a cursor is stored before the job goes on."""
        running = self._running[job.id]
        running.progress = dict(progress)
        if cursor is not None and (connection := self._connection) is not None:
            async with self._lock:
                held = await model.hold(connection, job, self._runner, running.progress, cursor)
            if held is None:
                raise asyncio.CancelledError

    async def _hold(self, connection: Connection) -> None:
        for each in list(self._running.values()):
            async with self._lock:
                held = await model.hold(connection, each.job, self._runner, each.progress)
            each.progress = None
            if held is None or held:
                each.cancelled = bool(held)
                each.task.cancel()

    async def _finish(self, connection: Connection) -> None:
        for job_id, each in list(self._running.items()):
            if each.task.done():
                await self._end(connection, each)
                del self._running[job_id]

    async def _end(self, connection: Connection, each: _Running) -> None:
        job, task = each.job, each.task
        log = self._log.bind(job=job.id, kind=job.kind)
        if each.progress is not None:
            async with self._lock:
                await model.hold(connection, job, self._runner, each.progress)
        if task.cancelled():
            state, error, result = model.CANCELLED if each.cancelled else model.WAITING, None, None
        elif (failure := task.exception()) is None:
            state, error, result = model.DONE, None, task.result()
        else:
            state, error, result = self._judged(job, failure), _said(failure), None
        again = self._backoff(job.attempt) if state == model.RETRYING else 0.0
        async with self._lock:
            kept = await model.end(
                connection,
                job,
                self._runner,
                state,
                result=result,
                error=error,
                again_seconds=again,
            )
        if kept:
            seconds = asyncio.get_running_loop().time() - each.began_at
            self._count(job.kind, state, seconds)
            log.info("job ended", outcome=state, error=error or "")
        else:
            log.warning("job was taken over by another process")

    @staticmethod
    def _judged(job: Job, failure: BaseException) -> str:
        """Only what may pass by itself is tried again."""
        may_pass = policy(failure) is Policy.RETRY
        return model.RETRYING if may_pass and job.attempt < job.attempts_max else model.FAILED

    async def _give_back(self, connection: Connection) -> None:
        for each in self._running.values():
            each.task.cancel()
        await asyncio.gather(
            *(each.task for each in self._running.values()), return_exceptions=True
        )
        await self._finish(connection)

    async def _let_go(self) -> None:
        tasks = [each.task for each in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()


def _said(failure: BaseException) -> str:
    known = isinstance(failure, LedgerError)
    return str(failure) if known else f"unexpected {type(failure).__name__}: {failure}"
