"""What the figures were made on: the machine, the versions, every setting that is not default.

No names of hosts, no paths. PostgreSQL must be durable, or there is nothing to report.
"""

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg
from pymongo import AsyncMongoClient

from compose.stack.errors import StackError
from compose.stack.java import FLAGS, KAFKA_VERSION, find_java
from compose.stack.names import REPOSITORY
from compose.stack.servers import Stack

DURABLE = ("fsync", "synchronous_commit", "full_page_writes")
PACKAGES = ("aiokafka", "asyncpg", "cramjam", "motor", "msgspec", "orjson", "pymongo")
REFERENCE_ENTRIES, REFERENCE_ROUNDS = 50_000, 10
_PRIVATE = ("director", "file", "listen", "port", "socket", "address", "log.dirs", "voters")
_SETTINGS = """
SELECT name, current_setting(name) AS value FROM pg_settings
WHERE source NOT IN ('default', 'client', 'override') ORDER BY name
"""


async def require_durable(dsn: str) -> None:
    """StackError unless PostgreSQL itself says that what it commits survives a power cut."""
    connection = await asyncpg.connect(dsn)
    try:
        said = {name: await connection.fetchval(f"SHOW {name}") for name in DURABLE}
    finally:
        await connection.close()
    if off := [f"{name} is {value}" for name, value in said.items() if value != "on"]:
        raise StackError(
            f"PostgreSQL is not durable ({', '.join(off)}), so nothing is reported",
            "take these settings out",
        )


def reference_ms() -> float:
    """CPU time of a fixed piece of Python, in ms: how fast the machine is at this moment.

    A virtual machine shares its cores with strangers: what costs 25 ms now may cost 55 in a minute,
    while nothing of ours runs. Figures can be compared where this one is alike.
    """
    table = {number: str(number) for number in range(REFERENCE_ENTRIES)}
    began = time.process_time()
    for _ in range(REFERENCE_ROUNDS):
        sum(len(table[number]) for number in range(REFERENCE_ENTRIES))
    return (time.process_time() - began) * 1000


async def described(stack: Stack, python: str) -> dict[str, Any]:
    """Machine, versions and settings, ready for JSON. `python`: what our processes run on."""
    return {
        "machine": _machine(),
        "versions": {"python": python} | await _versions(stack),
        "settings": await _settings(stack),
        "commit": _commit(),
    }


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": model,
        "memory_gib": round(memory / 1024**3, 1),
        "kernel": platform.release(),
        "load_average_before": os.getloadavg()[0],
    }


async def _versions(stack: Stack) -> dict[str, str]:
    connection = await asyncpg.connect(stack.postgres.uri)
    postgres = await connection.fetchval("SHOW server_version")
    await connection.close()
    async with AsyncMongoClient[dict[str, Any]](stack.mongo.uri) as client:
        mongod = (await client.admin.command("buildInfo"))["version"]
    release = find_java().identity.partition("\n")[2]
    java = next((line for line in release.splitlines() if "JAVA_VERSION=" in line), "")
    return {
        "mongod": mongod,
        "kafka": KAFKA_VERSION,
        "postgres": postgres,
        "java": java.partition("=")[2].strip('"'),
        **{name: version(name) for name in PACKAGES},
    }


async def _settings(stack: Stack) -> dict[str, Any]:
    connection = await asyncpg.connect(stack.postgres.uri)
    postgres = {row["name"]: row["value"] for row in await connection.fetch(_SETTINGS)}
    await connection.close()
    kafka = dict(
        line.split("=", 1)
        for line in (stack.kafka.folder / "server.properties").read_text().splitlines()
    )
    mongod = [str(word) for word in stack.mongo.command()[1:]]
    return {
        "postgres": _public(postgres),
        "kafka": _public(kafka) | {"java": " ".join(FLAGS)},
        "mongod": " ".join(_public_words(mongod)),
    }


def _public(settings: dict[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in settings.items()
        if not any(word in name for word in _PRIVATE)
    }


def _public_words(words: list[str]) -> list[str]:
    """Without addresses and folders, and the options before them."""
    hidden = ("--dbpath", "--port", "--bind_ip")
    return [
        word
        for before, word in zip(["", *words], words, strict=False)
        if before not in hidden and word not in hidden
    ]


def _commit() -> str:
    """Of the product, marked when files differ from it."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip()
