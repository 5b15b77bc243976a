"""Integration errors in the control database: stored by a source's owner, read by everybody."""

from collections.abc import Sequence
from typing import Any

from cdc.integration import IntegrationErrors
from cdc.runtime.postgres import Connection, transaction, translated
from schemas.sql import query


async def store(connection: Connection, source: str, errors: IntegrationErrors) -> None:
    """What has changed since the last time; kept for the next time where that fails."""
    steps = errors.take()
    if not steps:
        return
    stored = False
    try:
        async with transaction(connection, "store integration errors"):
            ends = [(each, False) for each in steps.streams]
            ends += [(each, True) for each in steps.subjects_of]
            for stream, subjects in ends:
                await connection.execute(
                    query("end_integration_errors"), source, stream, subjects, None
                )
            for kind in steps.agreed:
                await connection.execute(
                    query("end_integration_errors"), source, kind.stream, True, kind.subject
                )
            for kind, seen in steps.seen.items():
                await connection.execute(
                    query("keep_integration_error"), source, *kind, *_row(seen)
                )
        stored = True
    finally:
        if not stored:
            errors.give_back(steps)


def _row(seen: Any) -> Sequence[Any]:
    return seen.count, seen.detail[:500], seen.open


async def open_errors(connection: Connection) -> list[dict[str, Any]]:
    """What is open, by kind and place: how often, since when, and of how many objects."""
    return await _shown(connection, "open_integration_errors")


async def unknown_tombstones(connection: Connection) -> list[dict[str, Any]]:
    """The same of a target's budget: what was deleted and never told before. Ordinary in small."""
    return await _shown(connection, "unknown_tombstones")


async def _shown(connection: Connection, statement: str) -> list[dict[str, Any]]:
    with translated("read integration errors"):
        rows = await connection.fetch(query(statement))
    return [
        dict(row)
        | {
            name: row[name].isoformat().replace("+00:00", "Z")
            for name in ("first_seen", "last_seen")
        }
        for row in rows
    ]
