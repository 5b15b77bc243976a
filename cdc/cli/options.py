"""The options that every command has, and what becomes of a command: settings, loop, exit code."""

import asyncio
import logging
import os
import select
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdc.cli.output import Output, exit_code
from cdc.runtime.settings_reader import FaultySettings

if TYPE_CHECKING:
    from cdc.settings import Settings

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The configuration; default ledger.toml."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One setting, as kafka.topic_prefix=test."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Tracebacks, and the log's debug lines.")]

SIGNAL_EXIT = 128


@dataclass(frozen=True, slots=True)
class Common:
    """What was said by the options that every command has."""

    config: Path | None
    as_json: bool
    debug: bool
    flags: tuple[str, ...]

    def settings(self) -> "Settings":
        from cdc.settings import load

        return load(self.config, self.flags)


def common(config: Path | None, as_json: bool, debug: bool, flags: list[str] | None) -> Common:
    return Common(config, as_json, debug, tuple(flags or ()))


Work = Callable[["Settings", Output], Awaitable[int]]
TellFaults = Callable[[FaultySettings, Output], None]


def execute(
    options: Common,
    work: Work,
    *,
    watches_signals: bool = False,
    tell_faults: TellFaults | None = None,
) -> None:
    """Runs a command to its end and exits with its code.

    ``watches_signals``: the command drains by itself. Otherwise a signal cancels it: 130 or 143.
    ``tell_faults``: its own way to tell what is wrong with the settings.
    """
    output = Output(as_json=options.as_json)
    try:
        code = _ended(options, work, output, watches_signals, tell_faults or _tell_faults)
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        code = SIGNAL_EXIT + signal.SIGPIPE
    raise typer.Exit(code)


def _ended(
    options: Common, work: Work, output: Output, watches_signals: bool, tell_faults: TellFaults
) -> int:
    """The exit code, with what went wrong told. Raises only where nobody reads what is told."""
    try:
        return _run(options, work, output, watches_signals)
    except FaultySettings as faulty:
        tell_faults(faulty, output)
        return faulty.exit_code
    except Exception as error:  # the last line of defence: a person reads this
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            raise
        if options.debug:
            output.say("".join(traceback.format_exception(error)).rstrip())
        output.error(error)
        return exit_code(error)


def _nobody_reads() -> bool:
    """Whether the reader of our output went away, as `| head` does: no failure of ours."""
    watched = select.poll()
    watched.register(sys.stdout.fileno(), 0)  # told without asking: that nobody is at the other end
    return any(event & select.POLLERR for _, event in watched.poll(0))


def _tell_faults(faulty: FaultySettings, output: Output) -> None:
    output.error(faulty)


def _run(options: Common, work: Work, output: Output, watches_signals: bool) -> int:
    settings = options.settings()
    if watches_signals:
        return _run_daemon(work(settings, output))
    if not options.debug:  # what libraries say is in our errors, in words for a person
        logging.getLogger().addHandler(logging.NullHandler())
    return asyncio.run(_until_signalled(work(settings, output)))


def _run_daemon(work: Awaitable[int]) -> int:
    """Closes the loop only where nothing is left in it: closing waits for tasks that do not end."""
    runner = asyncio.Runner()
    try:
        return runner.run(_awaited(work))
    finally:
        if not asyncio.all_tasks(runner.get_loop()):
            runner.close()


async def _awaited(work: Awaitable[int]) -> int:
    return await work


async def _until_signalled(work: Awaitable[int]) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    asked: list[int] = []

    def stop(number: int) -> None:
        asked.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    await asyncio.wait({task})
    if task.cancelled() and asked:
        return SIGNAL_EXIT + asked[0]
    return task.result()
