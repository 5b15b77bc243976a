"""``cdc run``: sources to Kafka, each with everything around it."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cdc.app import jobs
from cdc.app.normalisers import collections_with_images, mongo_normaliser
from cdc.app.process import Process
from cdc.building import CONTROL_BACKOFF, backoff_seconds, chosen, control_connect, require
from cdc.integration import IntegrationErrors, Kind
from cdc.kafka.live_broker import KafkaBroker
from cdc.kafka.ownership import Ownership
from cdc.mapping.normaliser import Normaliser
from cdc.operation.running import Control, SourceRunner, StartReport, first_of, loop_name
from cdc.pipeline import Pipeline
from cdc.progress import Progress
from cdc.runtime.errors import SettingsError
from cdc.runtime.health import Condition
from cdc.runtime.log import Log
from cdc.runtime.services import Service
from cdc.settings import MongoSettings, PlaidSettings, Settings, SourceSettings, YnabSettings
from cdc.sources.mongo import MongoSource
from cdc.sources.protocol import Source, Windowed
from schemas.topics import cursor_partition, cursors_topic, source_group

if TYPE_CHECKING:
    from cdc.mapping.api_normaliser import ApiNormaliser

PAUSED_BY = (
    "started with SYNC_ENABLED or REAL_TIME_SYNC_ENABLED (sync.enabled, sync.real_time) false"
)
CONTROL_START_SECONDS = 1.0
"""The control database's client is loaded only then: the first change need not wait for it."""


async def run(settings: Settings, names: Sequence[str], log: Log) -> int:
    """``cdc run``: sources to Kafka until a signal; the exit code. No ``names``: all sources."""
    require(settings, "kafka", "sources")
    process = Process(settings, log)
    control = Control() if settings.control_dsn else None
    runners = [
        _source(process, name, source, control)
        for name, source in chosen(settings.sources, names, "source").items()
    ]
    if not runners:
        raise SettingsError("no source to run", hint="see the warnings above")
    for runner in runners:
        process.services.add(f"source {runner.source}", runner.run)
        process.services.add(f"beat {runner.source}", runner.beat)
    if control is not None:
        process.services.add("control", _control(process, runners, control))
        process.services.add("jobs", jobs.service(process))

    def conditions() -> dict[str, Condition]:
        found = {f"source {each.source}": each.condition() for each in runners}
        return found if control is None else {**found, "control database": control.condition}

    return await process.serve(settings.http.listen, "http.listen", conditions)


def _source(
    process: Process, name: str, settings: SourceSettings, control: Control | None
) -> SourceRunner:
    """A source with everything around it."""
    prefix, book = process.settings.kafka.topic_prefix, settings.book
    cursors = cursors_topic(prefix).name
    log = process.log.bind(source=name)
    integration = _integration(process, name, log)
    source, normaliser = _BUILDERS[type(settings)](process, name, settings, integration)
    metrics = process.metrics.source(name, normaliser.entities)
    report = StartReport(log, metrics, lambda: process.pulse.beat(loop_name(name)), integration)
    pipeline = Pipeline(
        book=book,
        cursors_topic=cursors,
        source=source,
        normaliser=normaliser,
        broker=KafkaBroker(
            process.connection, prefix=prefix, book=book, source=name, topics=normaliser.topics
        ),
        topics=dict(zip(normaliser.topics, normaliser.entities, strict=True)),
        progress=Progress(name, time.time),
        report=report,
        backoff=lambda attempt, least: max(least, backoff_seconds(attempt)),
    )
    if process.settings.sync.sources_start_paused:
        pipeline.pause(PAUSED_BY)
    return SourceRunner(
        name,
        ownership=Ownership(
            process.connection,
            group=source_group(prefix, book, name),
            topic=cursors,
            partition=cursor_partition(book, name),
            instance=process.settings.instance,
        ),
        topics_fit=process.topics_fit,
        pipeline=pipeline,
        collections=lambda: normaliser.collections,
        report=report,
        metrics=metrics,
        totals=lambda: _totals(normaliser),
        history_seconds=source.history_seconds,
        pulse=process.pulse,
        log=log,
        control=control,
        windowed=source if isinstance(source, Windowed) else None,
    )


def _totals(normaliser: "Normaliser | ApiNormaliser") -> dict[str, int]:
    """Values that were mended, and those that no table knows."""
    unknown: Mapping[Any, int] = getattr(normaliser, "unknown", {})
    return asdict(normaliser.totals) | {"unknown": sum(unknown.values())}


def _integration(process: Process, name: str, log: Log) -> IntegrationErrors:
    def news(kind: Kind) -> None:
        log.warning(
            "integration error",
            stream=kind.stream,
            endpoint=kind.endpoint,
            reason=kind.category,
            document_id=kind.subject,
        )

    def counted(category: str) -> None:
        process.metrics.integration_errors.labels(name, category).inc()

    return IntegrationErrors(news, counted)


def _mongo(
    process: Process, name: str, settings: MongoSettings, _: IntegrationErrors
) -> tuple[MongoSource, Normaliser]:
    normaliser = mongo_normaliser(process.settings, name, settings)
    source = MongoSource(
        name,
        settings.uri.get_secret_value(),
        normaliser.collections,
        images=collections_with_images(normaliser),
        allow_sharded=settings.allow_sharded,
    )
    return source, normaliser


def _ynab(
    process: Process, name: str, settings: YnabSettings, integration: IntegrationErrors
) -> tuple[Source, "ApiNormaliser"]:
    from cdc.app import feeds

    return feeds.ynab(process, name, settings, integration)


def _plaid(
    process: Process, name: str, settings: PlaidSettings, _: IntegrationErrors
) -> tuple[Source, "ApiNormaliser"]:
    from cdc.app import feeds

    return feeds.plaid(process, name, settings)


_Built = tuple[Source, "Normaliser | ApiNormaliser"]
_BUILDERS: dict[type[SourceSettings], Callable[..., _Built]] = {
    MongoSettings: _mongo,
    YnabSettings: _ynab,
    PlaidSettings: _plaid,
}
"""What runs a source of each type of settings."""


def _control(process: Process, runners: Sequence[SourceRunner], control: Control) -> Service:
    async def tie(stop: asyncio.Event) -> None:
        await first_of(stop, control.wanted, seconds=CONTROL_START_SECONDS)
        from cdc.operation.control import ControlTie

        await ControlTie(
            control_connect(process.settings),
            runners,
            control=control,
            instance=process.instance,
            log=process.log,
            backoff=lambda attempt: backoff_seconds(attempt, CONTROL_BACKOFF),
        ).run(stop)

    return tie
