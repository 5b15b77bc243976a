"""`python -m compose.simulators`: a simulator as a process, until SIGTERM or Ctrl-C."""

import argparse
import asyncio
import contextlib
import signal
import sys
from datetime import UTC, datetime

import msgspec

from compose.simulators.clock import Clock
from compose.simulators.plaid import CLIENT_ID, SECRET, PlaidSimulator
from compose.simulators.plaid_bank import PlaidSize
from compose.simulators.server import Simulator
from compose.simulators.ynab import TOKEN, YnabSimulator
from compose.simulators.ynab_household import YnabSize


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m compose.simulators",
        description="YNAB or Plaid on loopback. The first line tells where, as JSON.",
        epilog="example: python -m compose.simulators ynab --port 8901 --transactions 100000",
    )
    parser.add_argument("api", choices=("ynab", "plaid"))
    parser.add_argument("--port", type=int, default=0, help="0 (default) takes a free one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--transactions", type=int, default=1000, help="per plan or item")
    parser.add_argument("--items", type=int, default=1, help="plans or items")
    parser.add_argument("--years", type=int, default=3, help="how far back they go")
    return parser


def _simulator(options: argparse.Namespace) -> Simulator:
    clock = Clock(datetime.now(UTC), running=True)
    count = range(1, options.items + 1)
    if options.api == "ynab":
        plans = [
            YnabSize(
                name=f"Household {number}" if number > 1 else "Household",
                transactions=options.transactions,
                years=options.years,
            )
            for number in count
        ]
        return YnabSimulator(plans, seed=options.seed, clock=clock, port=options.port)
    banks = [
        PlaidSize(
            name=f"Bank {number}", transactions=options.transactions, days=365 * options.years
        )
        for number in count
    ]
    return PlaidSimulator(banks, seed=options.seed, clock=clock, port=options.port)


def _whereabouts(simulator: Simulator) -> dict[str, object]:
    if isinstance(simulator, PlaidSimulator):
        tokens = {edits.item.name: token for token, edits in simulator.items.items()}
        keys = {"client_id": CLIENT_ID, "secret": SECRET, "access_tokens": tokens}
        return {"base_url": simulator.base_url, **keys}
    assert isinstance(simulator, YnabSimulator)
    return {"base_url": simulator.base_url, "token": TOKEN, "plans": list(simulator.books)}


async def _serve(simulator: Simulator) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with simulator:
        sys.stdout.write(msgspec.json.encode(_whereabouts(simulator)).decode() + "\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(_simulator(_parser().parse_args())))
