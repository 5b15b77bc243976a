"""``cdc jobs`` from the shell, and the service that `cdc run` runs, on a real database."""

import asyncio
import json
import os
import sys
from typing import Any

from cdc.app.jobs import service
from cdc.app.process import Process
from cdc.runtime.log import make_log
from cdc.runtime.postgres import PostgresTarget, session
from cdc.settings import load
from compose.stack.names import REPOSITORY
from consumers.migrate import migrate
from tests.conftest import Addresses

SECONDS_MAX = 60.0


async def cdc(database: str, *words: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    async with asyncio.timeout(SECONDS_MAX):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cdc", *words),
            env={**os.environ, "DATABASE_URL": database},
            cwd=REPOSITORY,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def told(database: str, *words: str) -> Any:
    code, out, err = await cdc(database, *words, "--json")
    assert code == 0, err
    return json.loads(out)


async def test_from_asking_to_the_result(stack: Addresses, database: str) -> None:
    async with session(PostgresTarget(dsn=database).connect) as connection:
        await migrate(connection)
    first = await told(database, "jobs", "run", "validate", "--param", "level=strict")
    kept = await told(database, "jobs", "run", "deduplicate", "--key", "once")
    again = await told(database, "jobs", "run", "deduplicate", "--key", "once")
    assert (kept["job"], again) == (again["job"], {**kept, "already_there": True})
    assert await told(database, "jobs", "cancel", str(kept["job"])) == {
        "ok": True,
        "job": kept["job"],
        "state": "cancelled",
    }
    settings = load(
        None,
        [
            f"targets.main.dsn={database}",
            f"kafka.bootstrap_servers={stack.kafka_bootstrap_servers}",
        ],
    )
    stop = asyncio.Event()
    process = Process(settings, make_log(libraries=False, strict=True))
    running = asyncio.ensure_future(service(process)(stop))
    code, out, err = await cdc(database, "jobs", "watch", str(first["job"]))
    stop.set()
    await running
    assert code == 0, err
    last = json.loads(out.splitlines()[-1])
    assert (last["state"], last["result"]["level"]) == ("done", "strict")
    assert (await told(database, "jobs", "show", str(first["job"])))["attempts"] == 1
    states = {job["kind"]: job["state"] for job in (await told(database, "jobs", "list"))["jobs"]}
    assert states == {"validate": "done", "deduplicate": "cancelled"}


async def test_wrong_usage_is_told(database: str) -> None:
    for words in (("run", "valldate"), ("run", "validate", "--param", "levl=strict")):
        code, _, err = await cdc(database, "jobs", *words)
        assert code == 2
        assert "did you mean" in err
