"""`cdc` as a person runs it: the console script, with an environment of the test's making."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from compose.stack.errors import StackError, log_tail
from compose.stack.names import REPOSITORY
from compose.stack.ports import LOOPBACK, free_port
from compose.stack.process import Child

CDC = REPOSITORY / ".venv" / "bin" / "cdc"
COMMAND_SECONDS_MAX = 60.0
END_SECONDS_MAX = 60.0
LOOK_SECONDS = 0.02
_INHERITED = ("PATH", "HOME", "LANG", "PYTHONPATH", "PYTHONPYCACHEPREFIX")


def started(words: Sequence[str], environment: Mapping[str, str], log: Path) -> Child:
    """`cdc words` with this environment and nothing else that `cdc` would heed."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    said = (f"{name}={value}" for name, value in {**inherited, **environment}.items())
    return Child(["/usr/bin/env", "-i", *said, CDC, *words], log)


async def run_to_end(words: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """StackError with its last words when it fails."""
    child = started(words, environment, log)
    await child.finish(COMMAND_SECONDS_MAX, f"`cdc {' '.join(words)}`")


class Daemon:
    """`cdc run` or `cdc consume`, to be started, signalled, killed and started again.

    A member of its groups with a name of its own: a restart takes its place at once.
    """

    def __init__(self, verb: str, environment: Mapping[str, str], log: Path) -> None:
        self.verb = verb
        self.log = log
        self.port = free_port()
        listen = "CDC_HTTP__LISTEN" if verb == "run" else "CDC_HTTP__CONSUMER_LISTEN"
        self._environment = {
            **environment,
            listen: f"{LOOPBACK}:{self.port}",
            "CDC_INSTANCE": f"{log.parent.name}-{verb}",
        }
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._child.pid if self._child and self._child.exit_code is None else None

    def start(self) -> None:
        """Returns at once."""
        self._child = started([self.verb], self._environment, self.log)

    def signal(self, number: signal.Signals) -> None:
        assert self._child is not None, "start it first"
        self._child.signal(number)

    def check(self) -> None:
        """StackError when the process ended though nobody asked it to."""
        if self._child is not None and self._child.exit_code is not None:
            raise StackError(
                f"`cdc {self.verb}` ended by itself with code {self._child.exit_code}; its last "
                f"words:\n{log_tail(self.log)}",
                f"read {self.log}",
            )

    async def ended(self, seconds_max: float = END_SECONDS_MAX) -> int:
        """Waits for its end; the exit code (negative: a signal). Then it may be started again."""
        child = self._child
        assert child is not None, "start it first"
        deadline = time.monotonic() + seconds_max
        while (code := child.exit_code) is None:
            if time.monotonic() > deadline:
                raise StackError(f"`cdc {self.verb}` does not end", f"read {self.log}")
            await asyncio.sleep(LOOK_SECONDS)
        self._child = None
        return code

    async def stop(self) -> int:
        """SIGTERM, and its exit code; 0 when it did not run."""
        if self._child is None:
            return 0
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def kill(self) -> None:
        """SIGKILL; it may be started again."""
        child, self._child = self._child, None
        if child is not None:
            await child.kill()
