"""A nursery of our processes: everything is loaded once, each life is a fork of it.

    python -m tests.crash.launch        speaks JSON lines, see `nursery.py`

A life is `cdc run` or `cdc consume` as a person starts it, with its clients wrapped: it dies at the
first point that no life before it has passed. Times and sizes are smaller than usual, so that
every step comes within a second.
"""

import ctypes
import json
import os
import random
import select
import signal
import sys
from pathlib import Path
from typing import Any

from tests.crash.points import Pairs, Points
from tests.crash.wrapped import wrap_everything

PR_SET_PDEATHSIG = 1
LOOK_SECONDS = 0.005
READ_BYTES = 65536
SESSION_MS = 1500


def serve() -> None:
    """Until its standard input ends; then nothing of it is left."""
    load()
    living: set[int] = set()
    buffer = b""
    while True:
        ready, _, _ = select.select([0], [], [], LOOK_SECONDS)
        if ready:
            data = os.read(0, READ_BYTES)
            if not data:
                break
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                pid = fork(json.loads(line))
                living.add(pid)
                tell(born=pid)
        while living:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            living.discard(pid)
            tell(ended=pid, code=os.waitstatus_to_exitcode(status))
    for pid in living:
        os.kill(pid, signal.SIGKILL)


def tell(**said: int) -> None:
    os.write(1, json.dumps(said).encode() + b"\n")


def fork(asked: dict[str, Any]) -> int:
    """A new life; returns in the nursery only."""
    nursery = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != nursery:
        os._exit(1)
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for target, source in enumerate((null, log, log)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = ["cdc", *asked["words"]]
    random.seed()
    live()
    os._exit(1)


def live() -> None:
    """`cdc` with its clients wrapped. It does not return."""
    said = os.environ
    seen, number = Path(said["CRASH_SEEN"]), signal.Signals[said.get("CRASH_SIGNAL", "SIGKILL")]
    points = Points(
        seen,
        number,
        nth=int(said.get("CRASH_NTH", "1")),
        raises=bool(said.get("CRASH_RAISES")),
        only=said.get("CRASH_ONLY", ""),
    )
    if "CRASH_FIRST" in said:
        first = tuple(said["CRASH_FIRST"].split(","))
        points = Pairs(seen, number, first=first, last=said["CRASH_LAST"])
    wrap_everything(points)
    from cdc.__main__ import main

    main()


def load() -> None:
    """Several pages for a few documents, an idle cursor saved each second, and so on."""
    import cdc.cli.commands
    import cdc.mapping.normaliser
    import cdc.sources.mongo  # noqa: F401
    from cdc import stream_reader
    from cdc.app import normalisers, sources, targets  # noqa: F401
    from cdc.kafka.ownership import Ownership
    from cdc.operation import control, running
    from cdc.pipeline import Pipeline
    from cdc.runtime.postgres import PostgresTarget
    from consumers import apply
    from consumers.settings import ConsumerLimits

    Pipeline.__init__.__kwdefaults__["idle_seconds"] = 0.2  # type: ignore[misc,index]
    stream_reader.PAGE_ROWS = 7
    stream_reader.SAVE_SECONDS = 0.5
    sources.CONTROL_START_SECONDS = 0.0
    running.REJOIN_SECONDS = 1.0
    control.OBSERVE_SECONDS, control.LOOK_SECONDS = 0.3, 0.6
    apply.COPY_ROWS_MIN = 5
    limits = ConsumerLimits.__init__.__kwdefaults__  # type: ignore[misc]
    limits |= {"keep_seconds": 0.05, "check_seconds": 0.1, "touch_seconds": 0.1}
    limits |= {"session_timeout_ms": SESSION_MS, "heartbeat_ms": SESSION_MS // 3}
    ownership = Ownership.__init__.__kwdefaults__  # type: ignore[misc]
    ownership["session_timeout_ms"] = SESSION_MS
    server = PostgresTarget.__init__.__kwdefaults__  # type: ignore[misc]
    server |= {"connect_seconds_max": 3.0, "statement_seconds_max": 3.0, "lock_seconds_max": 2.0}


if __name__ == "__main__":
    serve()
