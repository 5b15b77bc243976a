"""The tests' side of `launch.py`: processes of ours that start in milliseconds.

They are processes in full: of their own, with their own sockets and memory; a SIGKILL leaves
nothing of them. Only the loading of modules is done once for all.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from compose.stack.names import REPOSITORY

END_SECONDS_MAX = 30.0
_INHERITED = ("PATH", "HOME", "LANG", "PYTHONPYCACHEPREFIX")


class Life:
    """One process. `ended` has its exit code, negative for a signal."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def signal(self, number: signal.Signals) -> None:
        """Nothing happens when it has ended."""
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Nursery:
    """`async with Nursery() as nursery: life = await nursery.born(["run"], environment, log)`."""

    def __init__(self) -> None:
        self._living: dict[int, Life] = {}
        self._born: asyncio.Queue[Life] = asyncio.Queue()
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> "Nursery":
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.crash.launch"),
            cwd=REPOSITORY,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self._hearing = asyncio.create_task(self._hear(), name="hear the nursery")
        return self

    async def __aexit__(self, *_exception: object) -> None:
        for life in self._living.values():
            life.signal(signal.SIGKILL)
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(END_SECONDS_MAX):
            await self._process.wait()
            await self._hearing

    async def born(self, words: Sequence[str], environment: Mapping[str, str], log: Path) -> Life:
        """A process with this environment and nothing else of ours."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        asked = {"words": list(words), "log": str(log)}
        line = json.dumps({**asked, "environment": {**inherited, **environment}})
        assert self._process.stdin is not None
        async with self._lock:
            self._process.stdin.write(line.encode() + b"\n")
            return await self._born.get()

    async def _hear(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "born" in said:
                life = self._living[said["born"]] = Life(said["born"])
                self._born.put_nowait(life)
            else:
                self._living.pop(said["ended"]).ended.set_result(said["code"])
