"""``cdc run``: sources to Kafka, each with everything around it."""

import asyncio
import time
from collections.abc import Callable, Sequence

from cdc.app.process import Process
from cdc.building import CONTROL_BACKOFF, backoff_seconds, chosen, control_connect
from cdc.kafka_broker import KafkaBroker
from cdc.ownership import Ownership
from cdc.pipeline import Pipeline
from cdc.progress import Progress
from cdc.report import Report
from cdc.running import Control, SourceRunner, first_of
from cdc.runtime.errors import SettingsError
from cdc.runtime.health import Condition
from cdc.runtime.log import Log
from cdc.runtime.services import Service
from cdc.settings import MongoSettings, Settings, SourceSettings
from schemas.topics import cursor_partition, cursors_topic, source_group

CONTROL_START_SECONDS = 1.0
"""The control database's client is loaded only then: the first change need not wait for it."""


async def run(settings: Settings, names: Sequence[str], log: Log) -> int:
    """``cdc run``: sources to Kafka until a signal; the exit code. No ``names``: all sources."""
    process = Process(settings, log)
    control = Control() if settings.control_dsn else None
    runners = [
        _source(process, name, source, control)
        for name, source in chosen(settings.sources, names, "source").items()
        if type(source) in _PIPELINES or _told_unbuilt(name, source.type, log)
    ]
    if not runners:
        raise SettingsError("no source to run", hint="configure [sources.NAME], or MONGODB_URI")
    for runner in runners:
        process.services.add(f"source {runner.source}", runner.run)
    if control is not None:
        process.services.add("control", _control(process, runners, control))

    def conditions() -> dict[str, Condition]:
        found = {f"source {each.source}": each.condition() for each in runners}
        return found if control is None else {**found, "control database": control.condition}

    return await process.serve(settings.http.listen, "http.listen", conditions)


def _told_unbuilt(name: str, kind: str, log: Log) -> bool:
    log.warning("sources of this type cannot be run yet", source=name, reason=kind)
    return False


def _source(
    process: Process, name: str, source: SourceSettings, control: Control | None
) -> SourceRunner:
    """A source with everything around it."""
    settings, prefix = process.settings, process.settings.kafka.topic_prefix
    log = process.log.bind(source=name)
    metrics = process.metrics.source(name)

    def make_pipeline(report: Report, progress: Progress) -> Pipeline:
        make: Callable[..., Pipeline] = _PIPELINES[type(source)]
        return make(process, name, source, report, progress)

    return SourceRunner(
        name,
        ownership=Ownership(
            process.connection,
            group=source_group(prefix, source.book, name),
            topic=cursors_topic(prefix).name,
            partition=cursor_partition(source.book, name),
            instance=settings.instance,
        ),
        topics_fit=process.topics_fit,
        make_pipeline=make_pipeline,
        progress=Progress(name, time.time),
        metrics=metrics,
        pulse=process.pulse,
        log=log,
        control=control,
        start_paused=settings.sync.sources_start_paused,
    )


def _mongo_pipeline(
    process: Process, name: str, source: MongoSettings, report: Report, progress: Progress
) -> Pipeline:
    from cdc.mapping.build import mongo_normaliser
    from cdc.sources.mongo import MongoSource

    prefix = process.settings.kafka.topic_prefix
    normaliser = mongo_normaliser(process.settings, name, source)
    return Pipeline(
        book=source.book,
        cursors_topic=cursors_topic(prefix).name,
        source=MongoSource(
            name,
            source.uri.get_secret_value(),
            normaliser.collections,
            images=normaliser.images,
            allow_sharded=source.allow_sharded,
        ),
        normaliser=normaliser,
        broker=KafkaBroker(
            process.connection,
            prefix=prefix,
            book=source.book,
            source=name,
            topics=normaliser.topics,
        ),
        topics=dict(zip(normaliser.topics, normaliser.entities, strict=True)),
        progress=progress,
        report=report,
        backoff=backoff_seconds,
    )


_PIPELINES: dict[type[SourceSettings], Callable[..., Pipeline]] = {
    MongoSettings: _mongo_pipeline,
}


def _control(process: Process, runners: Sequence[SourceRunner], control: Control) -> Service:
    async def tie(stop: asyncio.Event) -> None:
        await first_of(stop, control.wanted, seconds=CONTROL_START_SECONDS)
        from cdc.control import ControlTie

        await ControlTie(
            control_connect(process.settings),
            runners,
            control=control,
            instance=process.instance,
            log=process.log,
            backoff=lambda attempt: backoff_seconds(attempt, CONTROL_BACKOFF),
        ).run(stop)

    return tie
