"""One child process that can never outlive us, and waiting for it without an event loop's help."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from signal import SIGKILL, Signals

import psutil

from compose.stack.errors import StackError, log_tail

POLL_SECONDS = 0.01
DEATH_SECONDS_MAX = 30.0
SHIM = Path(__file__).with_name("shim.py")


async def until(condition: Callable[[], Awaitable[bool]], limit_seconds: float, what: str) -> None:
    """Return when the condition holds; StackError when it does not within the limit."""
    deadline = time.monotonic() + limit_seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise StackError(
                f"{what} did not happen within {limit_seconds:g} s",
                "look at the server's log; on a busy machine try again",
            )
        await asyncio.sleep(POLL_SECONDS)


class Child:
    """A process in a session of its own whose output goes to a log and that dies with its parent.

    The parent is the *thread* that starts it: start servers from a thread that lives as long.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log_path: Path,
        *,
        owner: tuple[int, int] | None = None,
    ) -> None:
        self.log_path = log_path
        words = [str(word) for word in command]
        who = "-" if owner is None else f"{owner[0]}:{owner[1]}"
        shim = [sys.executable, "-I", "-S", str(SHIM), str(os.getpid()), who]
        with log_path.open("ab") as log:
            self._popen = subprocess.Popen(
                [*shim, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        self.pid = self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._popen.poll()

    def family(self) -> list[psutil.Process]:
        """The process and everything below it (PostgreSQL's backends leave the process group)."""
        try:
            top = psutil.Process(self.pid)
            return [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def signal(self, number: Signals) -> None:
        """Send a signal to the process alone; nothing happens when it is gone."""
        if self.exit_code is None:
            self._popen.send_signal(number)

    def signal_family(self, number: Signals) -> list[psutil.Process]:
        """Send a signal to the process and all below it; returns whom it was sent to."""
        members = self.family()
        for member in members:
            try:
                member.send_signal(number)
            except psutil.NoSuchProcess:
                continue
        return members

    async def end(self, number: Signals, limit_seconds: float) -> None:
        """Ask it to end; what still lives after the limit is killed. Returns when all are gone."""
        members = self.family()
        self.signal(number)
        try:
            await self.gone(members, limit_seconds)
        except StackError:
            await self.kill()

    async def kill(self) -> None:
        """SIGKILL to the whole family; returns when none is left."""
        await self.gone(self.signal_family(SIGKILL), DEATH_SECONDS_MAX)

    async def gone(self, members: list[psutil.Process], limit_seconds: float) -> None:
        """Wait until the process and the given members of its family have ended."""

        async def ended() -> bool:
            others = (each for each in members if each.pid != self.pid)
            return self.exit_code is not None and not any(map(alive, others))

        await until(ended, limit_seconds, f"the end of process {self.pid}")

    async def finish(self, limit_seconds: float, what: str) -> None:
        """For a command that ends by itself: StackError when it fails or takes too long."""
        try:
            await self.gone([], limit_seconds)
        except BaseException:
            await self.kill()
            raise
        if self.exit_code != 0:
            raise StackError(
                f"{what} failed with code {self.exit_code}; its last words:\n"
                f"{log_tail(self.log_path)}",
                f"read {self.log_path}",
            )


def alive(process: psutil.Process) -> bool:
    """Not ended; one that ended and waits for its parent to notice holds nothing any more."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
