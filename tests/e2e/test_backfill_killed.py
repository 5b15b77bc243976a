"""A backfill by real daemons on real servers, killed in the middle of it."""

from datetime import UTC, datetime

import asyncpg

from compose.simulators.clock import Clock
from compose.simulators.plaid import CLIENT_ID, SECRET, PlaidSimulator
from compose.simulators.plaid_bank import PlaidSize
from compose.simulators.plaid_sync import Switches
from compose.stack.process import until
from tests.e2e.company import SECONDS_MAX, Company

WINDOWS = 13
"""A year's; 24 months are killed at every window in ``test_backfill.py``."""
FINISHED = (
    "SELECT parameters->>'first' FROM sync.requests WHERE state = 'done'"
    " UNION SELECT from_date::text FROM budget.coverage WHERE state = 'fetched'"
)
LIVING = "SELECT count(*) FROM budget.transactions WHERE NOT deleted"


def configure(company: Company, sim: PlaidSimulator) -> None:
    """The bank is the only source."""
    del company.environment["MONGODB_URI"]
    text = f"""
[sources.bank]
type = "plaid"
client_id = "{CLIENT_ID}"
secret = "{SECRET}"
base_url = "{sim.base_url}"
items = [{{name = "first", access_token = "{sim.item().item.access_token}"}}]
"""
    (company.folder / "ledger.toml").write_text(text)


async def test_a_killed_daemon_goes_on_at_the_next_window(company: Company) -> None:
    size = PlaidSize(transactions=900)
    clock = Clock(datetime.now(UTC), running=True)
    async with PlaidSimulator([size], clock=clock, switches=Switches(limits="sandbox")) as sim:
        configure(company, sim)
        await company.prepared()
        source = await company.daemon("run", CDC_INSTANCE="one")
        await company.daemon("consume")
        tables = await asyncpg.connect(company.database)
        try:

            async def all_there() -> bool:
                return bool(await tables.fetchval(LIVING) == size.transactions)

            await until(all_there, SECONDS_MAX, "the first read is applied")
            await tables.execute(
                "DELETE FROM budget.transactions"
                " WHERE date BETWEEN current_date - 300 AND current_date - 90"
            )
            sim.fail_next("delay", match="/transactions/get", times=1000, seconds=0.05)
            params = ("--param", "source=bank", "--param", "months=12")
            asked = await company.cdc("jobs", "run", "backfill", *params, "--json")
            assert asked.code == 0, asked.err

            async def reached() -> bool:
                return len(await tables.fetch(FINISHED)) >= WINDOWS // 2

            await until(reached, SECONDS_MAX, "half of the windows")
            await source.kill()
            finished = {row[0] for row in await tables.fetch(FINISHED)}
            before = len(sim.requests("/transactions/get"))
            await tables.execute("UPDATE sync.jobs SET lease_until = now()")
            await company.daemon("run", CDC_INSTANCE="one")
            job = str(asked.document["job"])
            ended = await company.cdc("jobs", "watch", job)
            assert ended.code == 0, ended.out + ended.err
            every = sim.requests("/transactions/get")
            assert not finished & {seen.body["start_date"] for seen in every[before:]}
            assert len({seen.body["start_date"] for seen in every}) == WINDOWS
            await until(all_there, SECONDS_MAX, "what was lost is there again")
        finally:
            await tables.close()
