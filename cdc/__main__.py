"""The process: from its arguments to its exit code. Nothing else ends it."""

import os
import signal
import sys
from types import FrameType
from typing import Any

from cdc.runtime.memory import collect_rarely

DRAINING = frozenset({"run", "consume"})
"""Commands for which a signal before anything was started is a drain: there is nothing to do."""
SIGNAL_EXIT = 128


class Signalled(BaseException):
    """A signal came while nobody watched for it yet, or not any more."""

    def __init__(self, number: int) -> None:
        self.number = number


def _signalled(number: int, _frame: FrameType | None) -> None:
    raise Signalled(number)


def main() -> None:
    """Runs the command and ends the process, threads that hang or not."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _signalled)
    collect_rarely()
    try:
        code = _command()
    except Signalled as asked:
        drained = len(sys.argv) > 1 and sys.argv[1] in DRAINING
        code = 0 if drained else SIGNAL_EXIT + asked.number
    except BrokenPipeError:  # whoever read our output has gone
        code = 1
    _end(code)


def _command() -> int:
    from cdc.cli.commands import app

    try:
        app(prog_name="cdc")
    except SystemExit as ended:
        code: Any = ended.code
        return code if isinstance(code, int) else int(code is not None)
    return 0


def _end(code: int) -> None:
    """At once: a thread that waits for a dead server must not hold the process."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 1
    os._exit(code)


if __name__ == "__main__":
    main()
