"""Up, down and env of a named stack: everything a person or the Makefile does with it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from compose.stack.errors import StackError
from compose.stack.names import REPOSITORY, Place
from compose.stack.process import until
from compose.stack.servers import Stack

OTHERS_START_SECONDS_MAX = 700.0
END_SECONDS_MAX = 60.0


def up(place: Place, supervisor_words: Sequence[str]) -> int:
    """Bring the stack up unless it is; the exit code. Two at the same time start one stack."""
    lock = place.lock("up") or asyncio.run(_lock_when_free(place))
    try:
        if place.environment() is not None:
            print(f"stack {place.name} is already up ({_shown(place)})")
            return 0
        return _start(place, supervisor_words)
    finally:
        os.close(lock)


async def _lock_when_free(place: Place) -> int:
    got: list[int] = []

    async def take() -> bool:
        descriptor = place.lock("up")
        if descriptor is not None:
            got.append(descriptor)
        return descriptor is not None

    await until(take, OTHERS_START_SECONDS_MAX, f"the end of another start of stack {place.name}")
    return got[0]


def _start(place: Place, supervisor_words: Sequence[str]) -> int:
    began = time.monotonic()
    heard, said = os.pipe()
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "compose.stack", "supervise", *supervisor_words],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
        start_new_session=True,
    )
    os.close(said)
    try:
        with os.fdopen(heard, errors="replace") as lines:
            for line in lines:  # ends when the supervisor is up, or is gone
                print(line, end="", flush=True)
    except KeyboardInterrupt:
        supervisor.terminate()
        supervisor.wait()
        raise
    if place.environment() is None:
        return supervisor.wait() or 1
    seconds = time.monotonic() - began
    print(f"stack {place.name} is up after {seconds:.1f} s: {_shown(place)}")
    supervisor.returncode = 0  # it goes on without us
    return 0


def down(place: Place) -> int:
    """End the stack and delete what it kept; nothing happens when there is none."""
    if place.supervised:
        asyncio.run(_end_supervisor(place))
    if not place.folder.exists():
        print(f"there is no stack {place.name}")
        return 0
    asyncio.run(Stack(place.folder).delete())
    print(f"stack {place.name} is down and deleted")
    return 0


async def _end_supervisor(place: Place) -> None:
    async def ended() -> bool:
        return not place.supervised

    supervisor = int(place.pid_file.read_text())
    os.kill(supervisor, signal.SIGTERM)
    try:
        await until(ended, END_SECONDS_MAX, f"the end of stack {place.name}")
    except StackError:
        os.kill(supervisor, signal.SIGKILL)
        await until(ended, END_SECONDS_MAX, f"the end of stack {place.name}")


def show_environment(place: Place) -> int:
    """Print the addresses as NAME=value lines."""
    environment = place.environment()
    if environment is None:
        raise StackError(f"stack {place.name} is not up", "make stack")
    print(*(f"{name}={value}" for name, value in environment.items()), sep="\n")
    return 0


def _shown(place: Place) -> str:
    return f"its addresses are in {os.path.relpath(place.environment_file)}"
