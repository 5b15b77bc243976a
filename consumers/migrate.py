"""Bringing a database to the declared schema: numbered migrations, each in its own transaction.

Safe to run by several processes at once and again at any time: one after another behind an
advisory lock, and what is recorded as applied is not applied again.
"""

from typing import NamedTuple

from cdc.runtime.errors import Unfit
from cdc.runtime.postgres import Connection, transaction, translated
from schemas.sql import Migration, migrations, query

MIGRATION_LOCK = 0x6C656468
MIGRATION_SECONDS_MAX = 3600.0
"""For one migration, and for the wait until another process has done with its own."""


class Missing(NamedTuple):
    """What stands between a database and the declared schema.

    ``pending``: migrations to apply. ``changed``: applied ones whose text is another now.
    ``unknown``: applied ones that this program does not have: it is older than the database.
    """

    pending: tuple[str, ...]
    changed: tuple[str, ...]
    unknown: tuple[str, ...]

    def __bool__(self) -> bool:
        return any(self)

    def describe(self) -> str:
        """One line for a person; empty where nothing is missing."""
        parts = (
            ("not applied", self.pending),
            ("applied in another form", self.changed),
            ("unknown to this version", self.unknown),
        )
        return "; ".join(f"{what}: {', '.join(names)}" for what, names in parts if names)


async def missing(connection: Connection) -> Missing:
    """Looks, and changes nothing."""
    applied = await _applied(connection)
    known = {each.number: each for each in migrations()}
    return Missing(
        tuple(each.name for each in known.values() if each.number not in applied),
        tuple(
            each.name
            for each in known.values()
            if each.number in applied and applied[each.number][1] != each.checksum
        ),
        tuple(name for number, (name, _) in applied.items() if number not in known),
    )


async def migrate(connection: Connection) -> tuple[str, ...]:
    """Applies what is pending and names it; raises ``Unfit`` where what is applied differs."""
    with translated("migrate"):
        await connection.execute("SET statement_timeout = 0; SET lock_timeout = 0")
        await connection.execute(
            "SELECT pg_advisory_lock($1)", MIGRATION_LOCK, timeout=MIGRATION_SECONDS_MAX
        )
    try:
        found = await missing(connection)
        if found.changed:
            raise Unfit(
                found._replace(pending=(), unknown=()).describe(),
                operation="migrate",
                hint="a migration that is applied must not be edited: add another",
            )
        done = []
        for each in migrations():
            if each.name in found.pending:
                await _apply(connection, each)
                done.append(each.name)
        return tuple(done)
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", MIGRATION_LOCK)
            await connection.execute("RESET statement_timeout; RESET lock_timeout")


async def _apply(connection: Connection, migration: Migration) -> None:
    async with transaction(connection, f"migrate {migration.name}"):
        await connection.execute(migration.text, timeout=MIGRATION_SECONDS_MAX)
        await connection.execute(
            query("record_migration"), migration.number, migration.name, migration.checksum
        )


async def _applied(connection: Connection) -> dict[int, tuple[str, str]]:
    """Number to (name, checksum) of what is recorded; empty in a database that is new."""
    with translated("look for migrations"):
        if await connection.fetchval("SELECT to_regclass('sync.migrations')") is None:
            return {}
        rows = await connection.fetch(query("applied_migrations"))
    return {row["number"]: (row["name"], row["checksum"]) for row in rows}
