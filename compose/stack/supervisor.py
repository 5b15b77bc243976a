"""The process that owns a named stack: if it dies, the servers die.

It outlives the command that started it, and ends on SIGTERM (servers end cleanly, data stay), or
when a server ends that nobody asked to. With an owner it also ends, and deletes the data, when
that process is gone. Until the servers answer, its output is the starter's.
"""

import asyncio
import os
import signal
import sys

import psutil

from compose.stack.errors import StackError
from compose.stack.names import Place
from compose.stack.process import alive
from compose.stack.servers import Options, Stack

WATCH_SECONDS = 0.25


def supervise(place: Place, options: Options, owner_pid: int | None = None) -> int:
    """Run a stack until it is told to end; the exit code of the process."""
    if place.lock("supervisor") is None:
        print(f"stack {place.name} has a supervisor already")
        return 0
    place.folder.mkdir(parents=True, exist_ok=True)
    place.pid_file.write_text(str(os.getpid()))
    place.environment_file.unlink(missing_ok=True)
    try:
        return asyncio.run(_run(place, options, _process(owner_pid)))
    except StackError as error:
        print(f"error: {error}", flush=True)
        return 3
    finally:
        place.environment_file.unlink(missing_ok=True)


def _process(pid: int | None) -> psutil.Process | None:
    try:
        return None if pid is None else psutil.Process(pid)
    except psutil.NoSuchProcess:
        raise StackError(f"the owner, process {pid}, is gone", "name one that lives") from None


async def _run(place: Place, options: Options, owner: psutil.Process | None) -> int:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    stack = Stack(place.folder, options, lambda line: print(line, flush=True))
    starting = asyncio.create_task(stack.start(), name="start")
    telling = asyncio.create_task(told.wait(), name="told to end")
    try:
        await asyncio.wait({starting, telling}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
        await starting
        _write_environment(place, stack.environment)
        _speak_to_log(place)
        return await _watch(stack, told, owner)
    except asyncio.CancelledError:
        return 0
    finally:
        telling.cancel()
        await stack.stop()


async def _watch(stack: Stack, told: asyncio.Event, owner: psutil.Process | None) -> int:
    while not told.is_set():
        if owner is not None and not alive(owner):
            await stack.delete()
            return 0
        for server in stack.servers:
            if not server.running:
                print(
                    f"{server.title()} ended by itself with code {server.exit_code}, so the others "
                    f"end too; see {server.log_path}",
                    flush=True,
                )
                return 1
        await asyncio.sleep(WATCH_SECONDS)
    return 0


def _write_environment(place: Place, environment: dict[str, str]) -> None:
    """Whole or not at all: the file is the sign that the stack is up."""
    unfinished = place.environment_file.with_suffix(".unfinished")
    unfinished.write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
    unfinished.replace(place.environment_file)


def _speak_to_log(place: Place) -> None:
    sys.stdout.flush()
    log = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
