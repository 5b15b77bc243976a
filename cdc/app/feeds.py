"""Finance APIs as sources, built from their settings. Loaded only where one is configured."""

import time
from datetime import date

from cdc.app.process import Process
from cdc.building import control_connect, partitions
from cdc.integration import IntegrationErrors, Kind
from cdc.mapping.api_normaliser import ApiNormaliser
from cdc.mapping.api_tables import Table
from cdc.quota import HourlyQuota, Quota
from cdc.settings import PlaidSettings, YnabSettings
from cdc.sources import plaid_tables, ynab_tables
from cdc.sources.plaid import Login, PlaidSource
from cdc.sources.plaid_api import PlaidApi
from cdc.sources.ynab import SINCE_DATE, YnabSource
from cdc.sources.ynab_answers import Told
from cdc.sources.ynab_api import YnabApi


class YnabTold(Told):
    """What plans contradict themselves in, as integration errors."""

    def __init__(self, integration: IntegrationErrors) -> None:
        self._integration = integration

    def sum_of(self, plan_id: str, resource: str, object_id: str, adds_up: bool) -> None:
        kind = Kind(plan_id, resource, "split_sum", object_id)
        (self._integration.agrees if adds_up else self._integration.contradicts)(kind)

    def read_whole(self, plan_id: str) -> None:
        self._integration.read_whole(plan_id)


def ynab_source(
    name: str, settings: YnabSettings, quota: Quota, told: Told | None = None
) -> YnabSource:
    """As configured; ``quota``: of its token."""
    since = settings.since_date
    token = settings.token.get_secret_value()
    return YnabSource(
        name,
        YnabApi(token, quota, now=time.time, base_url=settings.base_url),
        now=time.time,
        plans=settings.plans,
        since_date=SINCE_DATE if since is None else date.fromisoformat(since),
        poll_seconds=settings.poll_seconds,
        told=told,
    )


def plaid_api(settings: PlaidSettings) -> PlaidApi:
    """The API with the keys that are configured."""
    return PlaidApi(
        settings.client_id.get_secret_value(),
        settings.secret.get_secret_value(),
        [each.access_token.get_secret_value() for each in settings.items],
        now=time.time,
        base_url=settings.base_url,
        days_requested=settings.days_requested,
    )


def ynab(
    process: Process, name: str, settings: YnabSettings, integration: IntegrationErrors
) -> tuple[YnabSource, ApiNormaliser]:
    """Raises ``SettingsError`` without a database: the token's quota is kept there."""
    quota = HourlyQuota(
        settings.token.get_secret_value(), control_connect(process.settings), now=time.time
    )
    source = ynab_source(name, settings, quota, YnabTold(integration))
    process.metrics.api_quota.labels(name).set_function(lambda: source.quota_left)
    return source, _normaliser(process, name, settings.book, source, ynab_tables.TABLES)


def plaid(
    process: Process, name: str, settings: PlaidSettings
) -> tuple[PlaidSource, ApiNormaliser]:
    """One stream an item."""
    source = PlaidSource(
        name,
        plaid_api(settings),
        [Login(each.name, each.access_token.get_secret_value()) for each in settings.items],
        now=time.time,
        poll_seconds=settings.poll_seconds,
        accounts_seconds=settings.accounts_seconds,
    )
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
