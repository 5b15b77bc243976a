"""Our own processes, run as a person runs them: the console script with environment variables."""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGTERM

from compose.stack.errors import StackError, log_tail
from compose.stack.names import REPOSITORY
from compose.stack.ports import LOOPBACK, free_port
from compose.stack.process import Child

CDC = REPOSITORY / ".venv" / "bin" / "cdc"
COMMAND_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0
_INHERITED = ("PATH", "HOME", "LANG")


def command(words: Sequence[str | Path], environment: Mapping[str, str]) -> list[str | Path]:
    """`words` with this environment and nothing that a person's shell may have set for `cdc`."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    variables = {**inherited, **environment}
    return ["/usr/bin/env", "-i", *(f"{name}={value}" for name, value in variables.items()), *words]


async def run_to_end(words: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """Run one of `cdc`'s commands; StackError with its last words when it fails."""
    child = Child(command([CDC, *words], environment), log)
    await child.finish(COMMAND_SECONDS_MAX, f"`cdc {' '.join(words)}`")


class Daemon:
    """`cdc run` or `cdc consume`, to be started, killed and started again."""

    def __init__(
        self,
        verb: str,
        environment: Mapping[str, str],
        log: Path,
        words: Sequence[str | Path] = (CDC,),
    ) -> None:
        self.verb = verb
        self.log = log
        self.started_at = 0.0
        """Unix seconds just before the process was made."""
        listen = "CDC_HTTP__LISTEN" if verb == "run" else "CDC_HTTP__CONSUMER_LISTEN"
        self._environment = {**environment, listen: f"{LOOPBACK}:{free_port()}"}
        self._environment["CDC_INSTANCE"] = f"{log.parent.name}-{verb}"
        self._words = words
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._child.pid if self._child and self._child.exit_code is None else None

    def start(self) -> None:
        """Start the process; returns at once."""
        self.started_at = time.time()
        self._child = Child(command([*self._words, self.verb], self._environment), self.log)

    def check(self) -> None:
        """StackError when the process ended though nobody asked it to."""
        if self._child is not None and self._child.exit_code is not None:
            raise StackError(
                f"`cdc {self.verb}` ended by itself with code {self._child.exit_code}; its last "
                f"words:\n{log_tail(self.log)}",
                f"read {self.log}",
            )

    async def kill(self) -> None:
        """SIGKILL; it may be started again."""
        if self._child is not None:
            child, self._child = self._child, None
            await child.kill()

    async def stop(self) -> int:
        """SIGTERM, and its exit code; 0 when it did not run."""
        if self._child is None:
            return 0
        child, self._child = self._child, None
        await child.end(SIGTERM, STOP_SECONDS_MAX)
        return child.exit_code or 0


async def stop_all(daemons: Sequence[Daemon]) -> None:
    """End them side by side."""
    await asyncio.gather(*(each.stop() for each in daemons))
