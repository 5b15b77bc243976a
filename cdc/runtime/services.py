"""Named tasks that never end, started together, stopped together, and their deaths noticed.

    start ──▶ running ──first signal──▶ draining ──all ended──▶ drained (exit 0)
                 │                         └─deadline or second signal──▶ cancelled (143, 130)
                 └─a task dies──▶ draining ──▶ the reason (exit code of the error)

Whatever still runs when the drain is cut short is logged with its stack.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from cdc.runtime.errors import BrokenPromise, LedgerError, each_of

DRAIN_SECONDS = 15.0
CANCEL_SECONDS = 2.0
"""So long a cancelled task may take to notice it; afterwards the process ends without it."""
STACK_FRAMES_MAX = 8
TASKS_TOLD_MAX = 30
SIGNAL_EXIT = 128

Service = Callable[[asyncio.Event], Awaitable[None]]
"""Runs until the event is set, then finishes what it holds and returns."""


class Log(Protocol):
    """The part of a logger that is needed here."""

    def info(self, event: str, **keys: object) -> object: ...
    def warning(self, event: str, **keys: object) -> object: ...
    def error(self, event: str, **keys: object) -> object: ...


class Services:
    """One process's services. ``add`` them, ``start``, then ``wait``; or ``run`` for all of it."""

    def __init__(self, log: Log, *, drain_seconds: float = DRAIN_SECONDS) -> None:
        self._log = log
        self._drain_seconds = drain_seconds
        self._added: dict[str, Service] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stop = asyncio.Event()
        self._cut = asyncio.Event()
        self._signal: signal.Signals | None = None
        self._stuck: list[str] = []

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    @property
    def stuck(self) -> list[str]:
        """Tasks that ignored even their cancellation: only the end of the process ends them."""
        return list(self._stuck)

    def add(self, name: str, service: Service) -> None:
        """Before ``start``. Names are unique."""
        assert name not in self._added, name
        self._added[name] = service

    def start(self) -> None:
        """Starts all that was added and does not run yet. Safe twice."""
        if self._stop.is_set():
            return
        for name, service in self._added.items():
            if name not in self._tasks:
                self._tasks[name] = asyncio.create_task(_run(service, self._stop), name=name)

    async def stop(self) -> None:
        """Drains within the deadline. Safe before ``start`` and twice."""
        self._stop.set()
        await self._drain()

    def signalled(self, number: signal.Signals) -> None:
        """The first asks for the drain, the second ends it."""
        if self._signal is not None:
            self._cut.set()
            return
        self._signal = number
        self._log.info("stop was asked for", signal=number.name)
        self._stop.set()

    async def run(self) -> int:
        """From start to end with signals watched; the exit code. Raises what a task died of."""
        loop = asyncio.get_running_loop()
        watched = (signal.SIGTERM, signal.SIGINT)
        for number in watched:
            loop.add_signal_handler(number, self.signalled, number)
        try:
            self.start()
            return await self.wait()
        finally:
            for number in watched:
                loop.remove_signal_handler(number)

    async def wait(self) -> int:
        """Until all has ended; see ``run``."""
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait(
                {stopping, *self._tasks.values()}, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            stopping.cancel()
            early = [] if self._stop.is_set() else self._ended()
            self._stop.set()
            drained = await self._drain()
        self._raise_death(early)
        if drained:
            return 0
        return SIGNAL_EXIT + (self._signal or signal.SIGTERM)

    def _ended(self) -> list[str]:
        return [name for name, task in self._tasks.items() if task.done()]

    async def _drain(self) -> bool:
        """Whether all ended by themselves before the deadline or the second signal."""
        running = {task for task in self._tasks.values() if not task.done()}
        if not running:
            return True
        cut = asyncio.create_task(self._cut.wait(), name="cut")
        drained = asyncio.gather(*running, return_exceptions=True)
        ways_out: set[asyncio.Future[Any]] = {cut, drained}
        await asyncio.wait(
            ways_out, timeout=self._drain_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        cut.cancel()
        if drained.done():
            return True
        for task in _unfinished():
            self._log.warning("task is cut short", task=task.get_name(), stack=stack_of(task))
        for task in running:
            task.cancel()
        _, alive = await asyncio.wait(running, timeout=CANCEL_SECONDS)
        self._stuck = [task.get_name() for task in alive]
        if alive:
            self._log.error("tasks do not end", tasks=self._stuck)
        return False

    def _raise_death(self, early: list[str]) -> None:
        """Raises the first death; a service that returned unasked is one too."""
        for name, task in self._tasks.items():
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                self._log.error("task died", task=name, **_reasons(error))
                raise error
        for name in early:
            self._log.error("task died", task=name, error_class="returned")
            raise BrokenPromise("a service ended without being asked to", subject=name)


def _reasons(error: BaseException) -> dict[str, str]:
    """For the log: what each error of a group is, and what ours say (others may hold a payload)."""
    errors = list(each_of(error))
    said = "; ".join(str(each) for each in errors if isinstance(each, LedgerError))
    classes = ", ".join(sorted({type(each).__name__ for each in errors}))
    return {"error_class": classes} | ({"error": said} if said else {})


def _unfinished() -> list["asyncio.Task[Any]"]:
    """Every task that still runs, also those that services made; not who asks."""
    mine = asyncio.current_task()
    tasks = [task for task in asyncio.all_tasks() if task is not mine and not task.done()]
    return sorted(tasks, key=lambda task: task.get_name())[:TASKS_TOLD_MAX]


async def _run(service: Service, stop: asyncio.Event) -> None:
    await service(stop)


def stack_of(task: "asyncio.Task[Any]") -> list[str]:
    """Where a task stands: ``file:line function``, through the coroutines it awaits."""
    lines: list[str] = []
    coroutine: Any = task.get_coro()
    while coroutine is not None and len(lines) < STACK_FRAMES_MAX:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "ag_frame", None)
        if frame is None:
            break
        code = frame.f_code
        lines.append(f"{code.co_filename}:{frame.f_lineno} {code.co_qualname}")
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)
    return lines
