"""The figures to reach: where each is found in the results, its goal, and its stretch goal."""

from dataclasses import dataclass
from typing import Any

Results = dict[str, Any]
_STARTED = "started_cpu_us"


@dataclass(frozen=True)
class Figure:
    """`path` leads through the results; `at_least`: more is better."""

    name: str
    unit: str
    path: tuple[str, ...]
    goal: float
    stretch: float
    at_least: bool = False

    def value(self, results: Results) -> float | None:
        """None when the workload was not run."""
        found: Any = results
        for part in self.path:
            if not isinstance(found, dict) or part not in found:
                return None
            found = found[part]
        return float(found)

    def verdict(self, value: float) -> str:
        """`stretch`, `goal` or `missed`."""
        sign = -1 if self.at_least else 1
        if sign * value <= sign * self.stretch:
            return "stretch"
        return "goal" if sign * value <= sign * self.goal else "missed"


def without_start(results: Results) -> Results:
    """The results, with `started_cpu_us` of each backlog where the start was measured, too.

    A start costs the same whatever waits: of 200,000 events it is a tenth, of a day's nothing.
    """
    starts = results.get("start", {}).get("cpu_seconds", {})
    return {
        name: {**result, _STARTED: _started(result, starts)}
        if starts and "events" in result and "first_row_seconds" in result
        else result
        for name, result in results.items()
    }


def _started(result: Results, starts: dict[str, float]) -> dict[str, float]:
    return {
        stage: result["cpu_us"][stage] - seconds * 1e6 / result["events"]
        for stage, seconds in starts.items()
    }


def _cpu(
    name: str, workload: str, stage: str, goal: float, stretch: float, of: str = "cpu_us"
) -> Figure:
    return Figure(name, "µs", (workload, of, stage), goal, stretch)


FIGURES = (
    _cpu("source: CPU per insert", "inserts", "source", 20, 13, _STARTED),
    _cpu("consumer: CPU per insert", "inserts", "consumer", 10, 6, _STARTED),
    _cpu("consumer: CPU per update", "updates", "consumer", 10, 6, _STARTED),
    _cpu("source: CPU per insert, start included", "inserts", "source", 20, 13),
    _cpu("consumer: CPU per insert, start included", "inserts", "consumer", 10, 6),
    _cpu("consumer: CPU per update, start included", "updates", "consumer", 10, 6),
    _cpu("Postgres: CPU per new row, 500 accounts", "inserts", "postgres", 22, 12),
    _cpu("Postgres: CPU per changed row, 500 accounts", "updates", "postgres", 32, 20),
    _cpu("Postgres: CPU per new row, 50,000 accounts", "inserts-spread", "postgres", 40, 24),
    _cpu("Postgres: CPU per changed row, 50,000", "updates-spread", "postgres", 60, 38),
    Figure(
        "backlog of inserts, end to end", "/s", ("inserts", "events_per_second"), 25e3, 40e3, True
    ),
    Figure(
        "backlog of updates, end to end", "/s", ("updates", "events_per_second"), 18e3, 28e3, True
    ),
    Figure("snapshot to rows", "/s", ("snapshot", "events_per_second"), 30e3, 50e3, True),
    Figure("peak RSS, source", "MB", ("inserts", "peak_rss_mb", "source"), 90, 65),
    Figure("peak RSS, consumer", "MB", ("inserts", "peak_rss_mb", "consumer"), 80, 50),
    Figure("process start to first row", "s", ("start", "first_row_seconds"), 0.8, 0.45),
    Figure("20/s: ack to commit, p50", "ms", ("steady-20", "ack_to_commit_ms", "p50"), 10, 6),
    Figure("20/s: ack to commit, p99", "ms", ("steady-20", "ack_to_commit_ms", "p99"), 25, 12),
    Figure("20/s: write to commit, p50", "ms", ("steady-20", "write_to_commit_ms", "p50"), 10, 6),
    Figure("20/s: write to commit, p99", "ms", ("steady-20", "write_to_commit_ms", "p99"), 25, 12),
    Figure("2,000/s: ack to commit, p99", "ms", ("steady-2000", "ack_to_commit_ms", "p99"), 60, 30),
    Figure("idle, both processes", "ms/s", ("idle", "cpu_ms_per_second", "both"), 8, 4.5),
    Figure("growth: CPU per event, large to small", "×", ("growth", "ratio", "all"), 1.2, 1.05),
    Figure("YNAB: 100,000 transactions to rows", "s", ("ynab", "seconds"), 12, 12),
    Figure("YNAB: peak RSS, source", "MB", ("ynab", "peak_rss_mb", "source"), 250, 250),
    Figure("YNAB: 100 changes, poll to rows", "s", ("ynab", "delta", "seconds"), 1, 1),
    Figure("YNAB: requests a quiet poll", "", ("ynab", "idle", "requests_per_poll"), 1, 1),
    Figure("Plaid: 20 × 5,000 transactions to rows", "s", ("plaid", "seconds"), 20, 20),
    Figure("validation of 1,000,000 transactions", "s", ("validation", "seconds"), 20, 20),
    Figure("validation: peak RSS, source", "MB", ("validation", "peak_rss_mb", "source"), 90, 90),
)
