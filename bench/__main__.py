"""`python -m bench`: measure, print the tables, write bench/results/.

Exit codes: 0 measured (whatever the verdicts), 2 wrong usage, 3 something is missing or broke
(what could be measured is kept), 130 interrupted.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench import backlog, feeds, steady
from bench.bed import Bed
from bench.figures import without_start
from bench.installed import python_version, usual_python
from bench.machine import described, reference_ms, require_durable
from bench.report import RESULTS, medians, show, write
from compose.stack.errors import StackError
from compose.stack.names import Place

EVENTS = 200_000
ACCOUNTS, ACCOUNTS_SPREAD = 500, 50_000
WARM_EVENTS = 200_000
"""So many inserts before anything is measured: a broker's JIT compiler settles only then."""
GROWTH = 10
"""The large table has so many times the rows of the small one, which has a backlog's."""
SECONDS_BY_RATE = {20: 20.0, 2_000: 15.0}
Workload = Callable[[Bed], Awaitable[dict[str, Any]]]


def workloads(events: int) -> dict[str, Workload]:
    """Every workload by its name, in the order they are run."""
    return {
        "start": lambda bed: backlog.start(bed, ACCOUNTS),
        "inserts": lambda bed: backlog.inserts(bed, events, ACCOUNTS),
        "updates": lambda bed: backlog.updates(bed, events, ACCOUNTS),
        "snapshot": lambda bed: backlog.snapshot(bed, events, ACCOUNTS),
        "inserts-spread": lambda bed: backlog.inserts(bed, events, ACCOUNTS_SPREAD),
        "updates-spread": lambda bed: backlog.updates(bed, events, ACCOUNTS_SPREAD),
        "steady-20": lambda bed: steady.rate(bed, 20, SECONDS_BY_RATE[20], ACCOUNTS),
        "steady-2000": lambda bed: steady.rate(bed, 2_000, SECONDS_BY_RATE[2_000], ACCOUNTS),
        "idle": lambda bed: steady.idle(bed, ACCOUNTS),
        "ynab": feeds.ynab,
        "plaid": feeds.plaid,
        "validation": feeds.validation,
        "growth": lambda bed: backlog.growth(bed, events, events * GROWTH, ACCOUNTS),
    }


LONG = ("growth",)


def _parser() -> argparse.ArgumentParser:
    names = list(workloads(EVENTS))
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="What an event costs, how fast a backlog goes, how late a row is.",
        epilog="example: python -m bench --only inserts,idle --events 20000",
    )
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        help=f"some of: {', '.join(names)} (default: all but {', '.join(LONG)})",
    )
    parser.add_argument("--events", type=int, default=EVENTS, help="of a backlog")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; medians are shown")
    parser.add_argument("--profile", action="store_true", help="both processes under cProfile")
    parser.add_argument(
        "--python",
        type=Path,
        default=usual_python(),
        help="the interpreter that runs both processes (default: %(default)s)",
    )
    parser.add_argument("--name", default="bench", help="of its stack")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON goes")
    return parser


async def _run(arguments: argparse.Namespace, chosen: dict[str, Workload]) -> int:
    """The exit code. A workload that fails is told; what the others measured is kept."""
    place = Place(arguments.name)
    if place.lock("bench") is None:  # held until we end
        raise StackError(f"a benchmark runs already on stack {place.name}", "wait for its end")
    bed = Bed(place.folder, arguments.python, say, arguments.profile)
    try:
        await bed.start()
        await require_durable(bed.stack.postgres.uri)
        description = await described(bed.stack, await python_version(arguments.python))
        say(f"both processes run on CPython {description['versions']['python']}")
        say("warming the servers")
        await backlog.inserts(bed, min(WARM_EVENTS, arguments.events), ACCOUNTS)
        runs: dict[str, list[dict[str, Any]]] = {}
        failed = 0
        for number in range(arguments.repeat):
            for name, workload in chosen.items():
                say(f"{name} (run {number + 1} of {arguments.repeat})")
                try:
                    before = reference_ms()
                    result = await workload(bed)
                    result["reference_ms"] = {"before": before, "after": reference_ms()}
                    runs.setdefault(name, []).append(result)
                except StackError as error:
                    failed += 1
                    print(f"error: {name}: {error}", file=sys.stderr, flush=True)
        results = without_start({name: medians(each) for name, each in runs.items() if each})
        await require_durable(bed.stack.postgres.uri)
    finally:
        await bed.stack.delete()
    show(results)
    if arguments.profile:
        say("profiles are in .stack/profile-*; these figures are not worth keeping")
    else:
        description["repeat"] = arguments.repeat
        say(f"written: {write(arguments.results, results, runs, description).name}")
    return 3 if failed else 0


def say(line: str) -> None:
    """A line for whoever waits."""
    print(line, flush=True)


async def _until_told(work: Awaitable[int]) -> int:
    """Do the work; SIGINT and SIGTERM cancel it, so that nothing is left running."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


def main(words: list[str]) -> int:
    """The exit code."""
    parser = _parser()
    arguments = parser.parse_args(words)
    known = workloads(arguments.events)
    wanted = arguments.only or [name for name in known if name not in LONG]
    if unknown := set(wanted) - set(known):
        parser.error(f"no such workload: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    if arguments.events < 1 or arguments.repeat < 1:
        parser.error("--events and --repeat are at least 1")
    try:
        chosen = {name: known[name] for name in wanted}
        return asyncio.run(_until_told(_run(arguments, chosen)))
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    except asyncio.CancelledError:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
