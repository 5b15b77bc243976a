"""What the three servers have in common: a folder, a port, and a life that can be interrupted."""

import abc
import asyncio
import contextlib
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from compose.stack.errors import StackError, log_tail
from compose.stack.ports import LOOPBACK, free_port, require_free
from compose.stack.process import Child, until

START_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 20.0

Report = Callable[[str], None]


def silent(_line: str) -> None:
    """A report for those who want none."""


class Server(abc.ABC):
    """One server process on its own data folder.

    `start` returns when the server answers its protocol; `stop` ends it cleanly; `kill` is SIGKILL
    to all its processes; `start` after either finds the same data on the same port. `pause` and
    `resume` are SIGSTOP and SIGCONT to all its processes. All may be called in any state.
    """

    name: str
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path, port: int | None = None, report: Report = silent) -> None:
        self.folder = folder.absolute()
        self.port = port or free_port()
        self.log_path = self.folder / f"{self.name}.log"
        self._report = report
        self._child: Child | None = None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.exit_code is None

    @property
    def exit_code(self) -> int | None:
        """Of the last process that ran; None while it runs or before the first start."""
        return None if self._child is None else self._child.exit_code

    @property
    def pid(self) -> int:
        """Of the server's first process; StackError when it does not run."""
        if self._child is None or not self.running:
            raise StackError(f"{self.name} does not run", "start it first")
        return self._child.pid

    @property
    def pids(self) -> list[int]:
        """Of all its processes, for the kernel's accounting."""
        return [] if self._child is None else [each.pid for each in self._child.family()]

    @property
    @abc.abstractmethod
    def uri(self) -> str:
        """How clients reach it."""

    @abc.abstractmethod
    async def prepare(self) -> None:
        """Make the data folder when there is none yet."""

    @abc.abstractmethod
    def command(self) -> list[str | Path]:
        """The words of the server's command line."""

    @abc.abstractmethod
    async def answers(self) -> bool:
        """Whether clients can work with it now. Called after the port is open."""

    def owner(self) -> tuple[int, int] | None:
        """User and group the server runs as; None for our own."""
        return None

    def title(self) -> str:
        """Name and version, for people."""
        return self.name

    async def start(self) -> None:
        """Start it and return when it answers; nothing happens when it runs already."""
        if self.running:
            return
        began = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        await self.prepare()
        require_free(
            self.port,
            self.title(),
            "end the process that listens there, or delete this stack (make stack-down) and start "
            "again: it takes other ports",
        )
        self._child = Child(self.command(), self.log_path, owner=self.owner())
        try:
            await until(self._ready, START_SECONDS_MAX, f"{self.title()}: its first answer")
        except BaseException:
            await self.kill()
            raise
        seconds = time.monotonic() - began
        self._report(f"{self.title()} answers on {LOOPBACK}:{self.port} ({seconds:.1f} s)")

    async def stop(self) -> None:
        """End it cleanly (a paused one is resumed first); the data stay."""
        if self._child is not None and self.running:
            self.resume()
            await self._child.end(self.stop_signal, STOP_SECONDS_MAX)

    async def kill(self) -> None:
        """SIGKILL to all its processes; the data stay as they are."""
        if self._child is not None:
            await self._child.kill()

    async def restart(self) -> None:
        """Clean stop, then start on the same data and port."""
        await self.stop()
        await self.start()

    def pause(self) -> None:
        if self._child is not None:
            self._child.signal_family(signal.SIGSTOP)

    def resume(self) -> None:
        if self._child is not None:
            self._child.signal_family(signal.SIGCONT)

    async def delete(self) -> None:
        """End it and remove its folder."""
        await self.kill()
        await asyncio.to_thread(shutil.rmtree, self.folder, True)

    async def __aenter__(self) -> "Server":
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.delete()

    async def _ready(self) -> bool:
        if not self.running:
            raise StackError(
                f"{self.title()} ended with code {self.exit_code} while starting; its last "
                f"words:\n{log_tail(self.log_path)}",
                f"read {self.log_path}",
            )
        return await self._port_open() and await self.answers()

    async def _port_open(self) -> bool:
        with contextlib.suppress(OSError):
            _reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
            writer.close()
            await writer.wait_closed()
            return True
        return False
