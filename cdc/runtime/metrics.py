"""Every metric of the product: names and labels in one file (``contract.md`` 7).

One ``Metrics`` a process, with a registry of its own. Ages and lags are computed when they are
asked for, so that they go on growing while what they watch is stuck.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
COMMIT_BUCKETS_SECONDS = (
    0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600,
)  # fmt: skip
JOB_BUCKETS_SECONDS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
OPS = ("c", "u", "d", "r")
TRANSACTION_OUTCOMES = ("committed", "refused", "failed")
ROW_OUTCOMES = ("applied", "duplicate", "stale", "parked")


class Metrics:
    """The metrics of one process. Label sets that are known are there from the start, at 0."""

    def __init__(self, version: str) -> None:
        # A second series for each counter, that nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        build = self._gauge("build_info", "The version that runs; always 1.", "version")
        build.labels(version).set(1)
        self._source_metrics()
        self._job_metrics()
        self._consumer_metrics()

    def _source_metrics(self) -> None:
        self.source_lag = self._gauge(
            "source_lag_seconds", "Since everything was last known to be published.", "source"
        )
        self.source_state = self._gauge(
            "source_state", "1 for the state the source is in.", "source", "state"
        )
        self.source_events = self._counter(
            "source_events", "Events published.", "source", "entity", "op"
        )
        self.source_progress = self._gauge(
            "source_last_progress_timestamp_seconds", "When a batch was last published.", "source"
        )
        self.oplog_window = self._gauge(
            "oplog_window_seconds", "How far back the source's history reaches.", "source"
        )
        self.resume_headroom = self._gauge(
            "resume_headroom_seconds",
            "How long the source could stand still until its position is lost.",
            "source",
        )
        self.publish_transactions = self._counter(
            "publish_transactions", "Kafka transactions, by outcome.", "source", "outcome"
        )
        self.source_dead_letters = self._counter(
            "source_dead_letters", "Documents or rows that did not map.", "source", "entity"
        )
        self.integration_errors = self._counter(
            "integration_errors",
            "Answers of APIs that could not be used or contradict themselves.",
            "source",
            "category",
        )
        self.whole_read_rows = self._gauge(
            "whole_read_rows", "Rows published of a whole read under way.", "source", "collection"
        )
        self.mended_values = self._counter(
            "mended_values",
            "Values taken as they could be: doubles (money should be Decimal128), more decimals"
            " than the currency has, NUL characters; unknown: words and fields not in a table.",
            "source",
            "kind",
        )

    def _job_metrics(self) -> None:
        self.api_quota = self._gauge(
            "api_quota_remaining", "Requests left of the hour's, as of the last one.", "source"
        )
        self.job_runs = self._counter("job_runs", "Runs of jobs that ended.", "kind", "outcome")
        self.job_duration = Histogram(
            "cdc_job_duration_seconds",
            "How long runs of jobs took.",
            ["kind"],
            buckets=JOB_BUCKETS_SECONDS,
            registry=self.registry,
        )

    def job_ended(self, kind: str, outcome: str, seconds: float) -> None:
        """A run of a job ended; ``outcome``: the state that the job is in now."""
        self.job_runs.labels(kind, outcome).inc()
        self.job_duration.labels(kind).observe(seconds)

    def _consumer_metrics(self) -> None:
        self.consumer_lag_records = self._gauge(
            "consumer_lag_records", "Records not yet applied.", "target", "topic", "partition"
        )
        self.consumer_lag_seconds = self._gauge(
            "consumer_lag_seconds", "Age of the oldest event that waits.", "target", "topic"
        )
        self.rows = self._counter("rows", "Events by what became of them.", "entity", "outcome")
        self.commit_to_commit = Histogram(
            "cdc_commit_to_commit_seconds",
            "From the source's commit to the commit in Postgres.",
            buckets=COMMIT_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self.dead_letters = self._gauge("dead_letters", "Open dead letters.", "entity")
        self.replaced_text = self._counter(
            "replaced_text", "Rows with a character that Postgres cannot hold.", "entity"
        )
        self.consumer_retries = self._counter(
            "consumer_retries", "Batches or connections tried again.", "target", "reason"
        )
        self.consumer_gaps = self._counter(
            "consumer_gaps", "Stored offsets that could not be trusted.", "target", "reason"
        )

    def source(self, name: str, entities: Iterable[str]) -> "SourceMetrics":
        """The metrics of one source, its series made."""
        return SourceMetrics(self, name, entities)

    def consumer(self, entities: Iterable[str]) -> "ConsumerMetrics":
        """What one target's consumer counts, its series made."""
        return ConsumerMetrics(self, entities)

    def page(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"cdc_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"cdc_{name}", text, labels, registry=self.registry)


class SourceMetrics:
    """What one source counts (``cdc.report.SourceMetrics``)."""

    def __init__(self, metrics: Metrics, source: str, entities: Iterable[str]) -> None:
        self._metrics = metrics
        self._source = source
        self._reading: set[str] = set()
        self._mended: dict[str, int] = {}
        for entity in entities:
            metrics.source_dead_letters.labels(source, entity)
            for op in OPS:
                metrics.source_events.labels(source, entity, op)
        for outcome in TRANSACTION_OUTCOMES:
            metrics.publish_transactions.labels(source, outcome)

    def watch(
        self,
        *,
        lag_seconds: Callable[[], float],
        progress_at: Callable[[], float],
        state: Callable[[], str],
        states: Iterable[str],
    ) -> None:
        """Asked at every scrape. ``progress_at``: seconds since 1970, 0: never."""
        self._metrics.source_lag.labels(self._source).set_function(lag_seconds)
        self._metrics.source_progress.labels(self._source).set_function(progress_at)

        def is_in(each: str) -> Callable[[], float]:
            return lambda: float(state() == each)

        for each in states:
            self._metrics.source_state.labels(self._source, each).set_function(is_in(each))

    def unwatch(self) -> None:
        """The source is run elsewhere: what is asked for at a scrape is not ours to tell."""
        for gauge in (self._metrics.source_lag, self._metrics.source_progress):
            gauge.remove_by_labels({"source": self._source})
        self._metrics.source_state.remove_by_labels({"source": self._source})
        self.reading({})

    def history(self, seconds: tuple[float, float] | None) -> None:
        """How far the source's history reaches back, and behind our position; None: not known."""
        if seconds is not None:
            self._metrics.oplog_window.labels(self._source).set(seconds[0])
            self._metrics.resume_headroom.labels(self._source).set(seconds[1])

    def reading(self, rows: Mapping[str, int]) -> None:
        """Rows done of the collections that are read whole now."""
        for collection in self._reading - rows.keys():
            self._metrics.whole_read_rows.remove(self._source, collection)
        for collection, count in rows.items():
            self._metrics.whole_read_rows.labels(self._source, collection).set(count)
        self._reading = set(rows)

    def events(self, entity: str, op: str, count: int) -> None:
        self._metrics.source_events.labels(self._source, entity, op).inc(count)

    def transaction(self, outcome: str) -> None:
        self._metrics.publish_transactions.labels(self._source, outcome).inc()

    def dead_letters(self, entity: str, count: int) -> None:
        self._metrics.source_dead_letters.labels(self._source, entity).inc(count)

    def mended(self, totals: Mapping[str, int]) -> None:
        """Counted since the start, by kind."""
        for kind, total in totals.items():
            known = self._mended.get(kind, 0)
            self._metrics.mended_values.labels(self._source, kind).inc(total - known)
            self._mended[kind] = total


class ConsumerMetrics:
    """What one target's consumer counts (``consumers.metrics.ConsumerMetrics``)."""

    def __init__(self, metrics: Metrics, entities: Iterable[str]) -> None:
        self._metrics = metrics
        self._open: dict[str, int] = {}
        for entity in entities:
            metrics.dead_letters.labels(entity)
            metrics.replaced_text.labels(entity)
            for outcome in ROW_OUTCOMES:
                metrics.rows.labels(entity, outcome)

    def rows(self, entity: str, outcome: str, count: int) -> None:
        self._metrics.rows.labels(entity, outcome).inc(count)

    def lag(self, target: str, topic: str, partition: int, records: int) -> None:
        self._metrics.consumer_lag_records.labels(target, topic, str(partition)).set(records)

    def lag_seconds(self, target: str, topic: str, seconds: float) -> None:
        self._metrics.consumer_lag_seconds.labels(target, topic).set(seconds)

    def committed(self, seconds: Mapping[float, int]) -> None:
        """Seconds to how many events took them: ``observe`` for each would cost a microsecond."""
        histogram = self._metrics.commit_to_commit
        for each, count in seconds.items():
            histogram._sum.inc(each * count)
            histogram._buckets[bisect_left(histogram._upper_bounds, each)].inc(count)

    def dead_letters(self, counts: Mapping[str, int]) -> None:
        """Open ones of this target by entity; what is not named has none."""
        for entity in {*self._open, *counts}:
            change = counts.get(entity, 0) - self._open.get(entity, 0)
            self._metrics.dead_letters.labels(entity).inc(change)
        self._open = dict(counts)

    def replaced_text(self, entity: str, count: int) -> None:
        self._metrics.replaced_text.labels(entity).inc(count)

    def retried(self, target: str, reason: str) -> None:
        self._metrics.consumer_retries.labels(target, reason).inc()

    def gap(self, target: str, topic: str, reason: str) -> None:
        self._metrics.consumer_gaps.labels(target, reason).inc()
