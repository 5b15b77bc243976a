"""`python -m compose.demo`: watch a company live and its books follow.

Exit codes: 0 done (also when a person ended it), 1 the books are wrong or something broke, 2 wrong
usage, 3 something is missing; 130 or 143 after a second signal. The last line is one JSON object.
"""

import argparse
import asyncio
import dataclasses
import json
import random
import re
import secrets
import signal
import sys

from compose.demo.company import PAYMENTS, Company
from compose.demo.feeds import Feeds
from compose.demo.screen import Screen
from compose.demo.story import BOOK, Interrupted, Outcome, Story
from compose.stack.errors import StackError
from compose.stack.names import Place

_SECONDS_BY_UNIT = {"": 1, "s": 1, "m": 60, "h": 3600}


def duration(text: str) -> float:
    """Seconds of `20`, `20s`, `2m` or `1h`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if match is None or not float(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time like 20s or 2m")
    return float(match[1]) * _SECONDS_BY_UNIT[match[2]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m compose.demo",
        description="A property company lives in MongoDB; its books follow in PostgreSQL.",
        epilog="example: make demo FOR=20s",
    )
    parser.add_argument(
        *("--for",), dest="seconds", type=duration, metavar="TIME", help="end after it, as 20s"
    )
    parser.add_argument("--name", default="demo", help="of its stack: several may run")
    parser.add_argument("--seed", type=int, help="the same company again")
    parser.add_argument("--payments", type=int, default=PAYMENTS, help="of its past")
    return parser


async def _run(arguments: argparse.Namespace) -> int:
    place = Place(arguments.name)
    if place.lock("demo") is None:  # held until we end
        raise StackError(f"a demo runs already on stack {place.name}", "end it, or add --name")
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    told = asyncio.Event()
    signals: list[int] = []
    with Screen() as screen:
        company = Company(random.Random(seed), arguments.payments)
        feeds = Feeds(seed, BOOK)
        story = Story(place.folder, arguments.seconds, company, feeds, screen, told)
        running = asyncio.create_task(story.run(), name="story")

        def on_signal(number: int) -> None:
            signals.append(number)
            if told.is_set():
                running.cancel()
            told.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
        screen.say(f"company number {seed} (the same again: make demo SEED={seed})")
        try:
            outcome = await running
        except Interrupted:
            outcome = Outcome()
        except asyncio.CancelledError:
            await story.delete()
            return 128 + signals[-1]
        await story.delete()
        screen.say("servers and processes are ended, their data deleted")
    print(json.dumps(dataclasses.asdict(outcome)), flush=True)
    return 1 if outcome.ok is False else 0


def main(words: list[str]) -> int:
    """The exit code."""
    arguments = _parser().parse_args(words)
    try:
        return asyncio.run(_run(arguments))
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        print(
            "what the servers and our processes wrote is kept until the next demo", file=sys.stderr
        )
        print(json.dumps(dataclasses.asdict(Outcome(ok=False))), flush=True)
        return 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
