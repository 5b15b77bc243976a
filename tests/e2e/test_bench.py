"""The benchmark runs on real servers, tells what it ran on, and refuses where it must."""

import asyncio
import json
import sys
import uuid
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

from bench.machine import require_durable
from compose.stack.errors import StackError
from compose.stack.names import REPOSITORY, Place
from tests.conftest import Addresses

EVENTS = 500


def only_file(folder: Path) -> str:
    """The text of the one file in the folder."""
    (path,) = folder.iterdir()
    return path.read_text()


async def test_a_postgres_that_is_not_durable_is_refused(stack: Addresses) -> None:
    with pytest.raises(StackError, match=r"fsync is off.*nothing is reported"):
        await require_durable(stack.database_url)


async def test_a_backlog_is_measured_and_written(tmp_path: Path) -> None:
    name = f"bench-{uuid.uuid4().hex[:8]}"
    words = ("--only", "inserts", "--events", str(EVENTS), "--name", name, "--results", tmp_path)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench", *words), cwd=REPOSITORY, stdout=PIPE, stderr=STDOUT
    )
    said = (await process.communicate())[0].decode()

    assert process.returncode == 0, said
    assert not Place(name).folder.exists()
    text = only_file(tmp_path)
    assert "127.0.0.1" not in text
    assert str(REPOSITORY) not in text
    written = json.loads(text)
    assert written["settings"]["postgres"]["fsync"] == "on"
    assert written["versions"]["postgres"].startswith("18.")
    (run,) = written["runs"]["inserts"]
    assert run["events"] == EVENTS
    assert 0 < run["first_row_seconds"] <= run["seconds"]
    for stage in ("source", "consumer", "broker", "mongod", "postgres"):
        assert run["cpu_us"][stage] >= 0
        assert run["peak_rss_mb"][stage] > 1
    assert run["cpu_us"]["source"] > 0
    assert {each["name"] for each in written["figures"]} >= {
        "source: CPU per insert, start included"
    }


async def test_an_unknown_workload_is_wrong_usage() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench", "--only", "instarts"),
        cwd=REPOSITORY,
        stdout=PIPE,
        stderr=STDOUT,
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 2
    assert "instarts" in said
    assert "inserts" in said
