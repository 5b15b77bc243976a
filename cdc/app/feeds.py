"""Finance APIs as sources, built from their settings. Loaded only where one is configured."""

import time
from datetime import date

from cdc.app.process import Process
from cdc.building import control_connect, partitions
from cdc.mapping.api_normaliser import ApiNormaliser
from cdc.mapping.api_tables import Table
from cdc.quota import HourlyQuota
from cdc.settings import PlaidSettings, YnabSettings
from cdc.sources import plaid_tables, ynab_tables
from cdc.sources.plaid import Login, PlaidSource
from cdc.sources.plaid_api import PlaidApi
from cdc.sources.ynab import SINCE_DATE, YnabSource
from cdc.sources.ynab_api import YnabApi


def ynab(process: Process, name: str, settings: YnabSettings) -> tuple[YnabSource, ApiNormaliser]:
    """Raises ``SettingsError`` without a database: the token's quota is kept there."""
    log = process.log.bind(source=name)
    token = settings.token.get_secret_value()
    quota = HourlyQuota(token, control_connect(process.settings), now=time.time)
    since = settings.since_date

    def tell(kind: str, resource: str, row_id: str) -> None:
        log.warning("answer contradicts itself", reason=kind, entity=resource, document_id=row_id)

    source = YnabSource(
        name,
        YnabApi(token, quota, now=time.time, base_url=settings.base_url),
        now=time.time,
        plans=settings.plans,
        since_date=SINCE_DATE if since is None else date.fromisoformat(since),
        poll_seconds=settings.poll_seconds,
        tell=tell,
    )
    return source, _normaliser(process, name, settings.book, source, ynab_tables.TABLES)


def plaid(
    process: Process, name: str, settings: PlaidSettings
) -> tuple[PlaidSource, ApiNormaliser]:
    """One stream an item."""
    logins = [Login(each.name, each.access_token.get_secret_value()) for each in settings.items]
    api = PlaidApi(
        settings.client_id.get_secret_value(),
        settings.secret.get_secret_value(),
        [login.access_token for login in logins],
        now=time.time,
        base_url=settings.base_url,
        days_requested=settings.days_requested,
    )
    source = PlaidSource(name, api, logins, now=time.time)
    return source, _normaliser(process, name, settings.book, source, plaid_tables.TABLES)


def _normaliser(
    process: Process,
    name: str,
    book: str,
    source: YnabSource | PlaidSource,
    tables: tuple[Table, ...],
) -> ApiNormaliser:
    log = process.log.bind(source=name)
    counts = partitions(process.settings)

    def news(entity: str, column: str, _word: str) -> None:
        log.info("answer holds something unknown", entity=entity, path=column)

    return ApiNormaliser(
        tables,
        prefix=process.settings.kafka.topic_prefix,
        book=book,
        source=name,
        connector=source.connector,
        streams=lambda: source.stream_names,
        partitions=counts.__getitem__,
        clock_ms=lambda: time.time_ns() // 1_000_000,
        news=news,
    )
