"""Where the loops tell what happens: one log line and one metric each, in one place."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from cdc.integration import IntegrationErrors
from cdc.progress import State
from cdc.runtime.errors import LedgerError
from cdc.stream_reader import Fault

FAULT_LINES_MAX = 20
"""So many dead letters of one batch get a log line each; the rest are counted in one."""


class Log(Protocol):
    """A structlog logger, bound to its source."""

    def info(self, event: str, **keys: object) -> object: ...
    def warning(self, event: str, **keys: object) -> object: ...
    def error(self, event: str, **keys: object) -> object: ...


class SourceMetrics(Protocol):
    """The metrics of one source (``cdc/runtime/metrics.py``)."""

    def events(self, entity: str, op: str, count: int) -> None: ...
    def transaction(self, outcome: str) -> None: ...
    def dead_letters(self, entity: str, count: int) -> None: ...


class Report:
    """One source's report."""

    def __init__(
        self, log: Log, metrics: SourceMetrics, integration: IntegrationErrors | None = None
    ) -> None:
        self.integration = integration or IntegrationErrors()
        self._log = log
        self._metrics = metrics

    def state(self, state: State, reason: str) -> None:
        bad = state in (State.GAP, State.FAILED, State.FENCED)
        tell = self._log.warning if bad else self._log.info
        tell("source state changed", state=state.value, reason=reason)

    def retrying(self, error: LedgerError) -> None:
        self._log.warning("source will try again", error=str(error))

    def failed(self, stream: str, error: LedgerError) -> None:
        """A try ended so; ``stream`` empty: it was the source's own."""
        self.integration.failed(stream, error)

    def answered(self, stream: str) -> None:
        """What the stream was told could be used."""
        self.integration.answered(stream)

    def cut_off(self, seconds: float) -> None:
        """An end was asked for, and the batch under way was not committed in so many seconds."""
        self._log.warning("batch under way is given up", seconds=seconds)

    def transaction(self, outcome: str) -> None:
        self._metrics.transaction(outcome)

    def published(self, counts: Counter[tuple[str, str]], faults: Sequence[Fault]) -> None:
        for (entity, op), count in counts.items():
            self._metrics.events(entity, op, count)
        for fault in faults[:FAULT_LINES_MAX]:
            self._log.warning(
                "document does not map",
                mapping=fault.mapping,
                document_id=fault.document_id,
                path=fault.path,
                reason=fault.reason,
            )
        if len(faults) > FAULT_LINES_MAX:
            self._log.warning("more documents do not map", count=len(faults) - FAULT_LINES_MAX)
        for entity, count in Counter(fault.entity for fault in faults).items():
            self._metrics.dead_letters(entity, count)

    def reading_whole(self, collection: str, reason: str) -> None:
        self._log.info("collection is read whole", collection=collection, reason=reason)

    def deletes_held(self, reason: str) -> None:
        self._log.error("deletes wait for a person", reason=reason)

    def deletes_left_out(self, mappings: Sequence[str]) -> None:
        self._log.warning("deletes are left out", mappings=list(mappings))

    def whole_read_done(self, collections: Sequence[str], deleted: Mapping[str, int]) -> None:
        self._log.info(
            "whole read is done", collections=list(collections), deleted=sum(deleted.values())
        )
