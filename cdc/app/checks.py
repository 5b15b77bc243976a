"""``cdc check``: both sides' servers at once, and samples of the documents to be mapped."""

import asyncio
import time
from typing import Any

from cdc.app import api_checks
from cdc.app.normalisers import collections_with_images, mongo_normaliser
from cdc.building import control_connect, lacking, postgres_target
from cdc.mapping.normaliser import Normaliser
from cdc.mapping.sample import sample as sampled
from cdc.operation.check import (
    FAIL,
    PASS,
    Check,
    Checked,
    bounded_checks,
    check_kafka,
    configured,
    without_repeats,
)
from cdc.quota import HourlyQuota
from cdc.runtime.postgres import session, translated
from cdc.settings import MongoSettings, Settings, YnabSettings
from cdc.sources.mongo import connect, disconnect
from cdc.sources.mongo_probe import probe, some_documents
from consumers.migrate import missing


async def check_all(settings: Settings, *, sample: int) -> Checked:
    """Everybody is asked at once, each for a bounded time."""
    result = Checked(configured(settings))
    asked = []
    if not lacking(settings, "kafka"):
        asked.append(bounded_checks("kafka", "kafka", check_kafka(settings)))
    for name, dsn in _databases(settings).items():
        asked.append(bounded_checks("postgres", name, _postgres(name, dsn)))
    for name, source in settings.sources.items():
        if isinstance(source, MongoSettings):
            checking = _mongo(settings, name, source, sample, result.mappings)
            asked.append(bounded_checks("mongodb", name, checking))
        elif isinstance(source, YnabSettings):
            asked.append(bounded_checks("ynab", name, _ynab(settings, name, source)))
        else:
            asked.append(bounded_checks("plaid", name, api_checks.plaid(name, source)))
    for found in await asyncio.gather(*asked):
        result.checks += found
    result.checks = without_repeats(result.checks)
    return result


async def _ynab(settings: Settings, name: str, source: YnabSettings) -> list[Check]:
    connect = control_connect(settings)
    quota = HourlyQuota(source.token.get_secret_value(), connect, now=time.time)
    return await api_checks.ynab(name, source, quota)


def _databases(settings: Settings) -> dict[str, str]:
    found = {
        f"target {name}": target.dsn.get_secret_value() for name, target in settings.targets.items()
    }
    if settings.control.dsn is not None:
        found["control"] = settings.control.dsn.get_secret_value()
    return found


async def _postgres(name: str, dsn: str) -> list[Check]:
    """Reachable, migrated, and with the rights that are needed."""
    target = postgres_target(dsn)
    async with session(target.connect) as connection:
        version = connection.get_server_version()
        detail = f"PostgreSQL {version.major} at {target.subject}"
        found = [Check("postgres", name, PASS, detail)]
        left = await missing(connection)
        if left.pending or left.changed:
            return [*found, Check("migrations", name, FAIL, left.describe(), "run `cdc migrate`")]
        told = left.describe() or "all applied"
        found.append(Check("migrations", name, PASS if not left else "warn", told))
        with translated("check rights", name):
            lacking = await connection.fetch(_RIGHTS)
    if lacking:
        names = ", ".join(row["name"] for row in lacking)
        fix = "GRANT SELECT, INSERT, UPDATE, DELETE ON them to this user"
        return [*found, Check("rights", name, FAIL, f"may not write {names}", fix)]
    return [*found, Check("rights", name, PASS, "may write every table")]


IMAGES = "mongodb images"
"""What lacks them can be read all the same, and its mapping be tried."""
_RIGHTS = """
SELECT format('%I.%I', schemaname, tablename) AS name
FROM pg_tables
WHERE schemaname IN ('accounting', 'budget', 'sync')
    AND NOT (has_table_privilege(format('%I.%I', schemaname, tablename), 'SELECT')
        AND has_table_privilege(format('%I.%I', schemaname, tablename), 'INSERT')
        AND has_table_privilege(format('%I.%I', schemaname, tablename), 'UPDATE'))
ORDER BY 1
"""


async def _mongo(
    settings: Settings, name: str, source: MongoSettings, sample: int, told: list[dict[str, Any]]
) -> list[Check]:
    """The server, and what a sample of its documents would become."""
    normaliser = mongo_normaliser(settings, name, source)
    client = connect(source.uri.get_secret_value())
    try:
        database = client.get_default_database()
        found = await probe(
            database,
            name,
            normaliser.collections,
            images=collections_with_images(normaliser),
            allow_sharded=source.allow_sharded,
        )
        checks = [Check(f"mongodb {each.step}", *each[1:]) for each in found]
        unreadable = (each for each in checks if each.name != IMAGES)
        if sample and not any(each.outcome == FAIL for each in unreadable):
            told += await _sampled(database, name, normaliser, sample)
    finally:
        await disconnect(client)
    return checks


async def _sampled(
    database: Any, source: str, normaliser: Normaliser, documents: int
) -> list[dict[str, Any]]:
    """What some documents of each collection would become; nothing is published."""
    found = []
    for collection in normaliser.collections:
        changes = await some_documents(database, collection, documents)
        told = sampled(normaliser, collection, changes)
        found += [{"source": source, **each.document()} for each in told]
    return found
