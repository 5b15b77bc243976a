"""The results for people (tables) and for later (JSON)."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.bed import STAGES
from bench.figures import FIGURES

Result = dict[str, Any]
RESULTS = Path(__file__).parent / "results"
_STYLES = {"stretch": "bold green", "goal": "green", "missed": "bold red"}
_WIDTH = 118


def medians(runs: Sequence[Any]) -> Any:
    """The median of each number over several results of one shape."""
    first = runs[0]
    if isinstance(first, dict):
        shared = [name for name in first if all(name in run for run in runs)]
        return {name: medians([run[name] for run in runs]) for name in shared}
    if isinstance(first, int | float):
        return median(runs)
    return first


def show(results: Result, console: Console | None = None) -> None:
    """Print the figures with their goals, and what each stage spent."""
    console = console or Console(width=_WIDTH)
    console.print(_figures(results))
    console.print(_stages(results))


def write(folder: Path, results: Result, runs: Result, description: Result) -> Path:
    """Write the medians, the single runs and the machine as JSON; where it stands."""
    folder.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    path = folder / f"{now:%Y-%m-%dT%H%M%SZ}.json"
    document = {
        "date": now.isoformat(timespec="seconds"),
        **description,
        "figures": [
            {
                "name": each.name,
                "unit": each.unit,
                "value": _short(value),
                "goal": each.goal,
                "stretch": each.stretch,
                "verdict": each.verdict(value),
            }
            for each in FIGURES
            if (value := each.value(results)) is not None
        ],
        "medians": _shortened(results),
        "runs": _shortened(runs),
    }
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return path


def _figures(results: Result) -> Table:
    table = Table(title="figures", title_justify="left")
    for name in ("figure", "measured", "goal", "stretch", ""):
        table.add_column(name, justify="left" if name in ("figure", "") else "right")
    for each in FIGURES:
        if (value := each.value(results)) is None:
            continue
        sign = "≥" if each.at_least else "≤"
        verdict = each.verdict(value)
        table.add_row(
            each.name,
            f"{_short(value):,} {each.unit}",
            f"{sign} {each.goal:,g}",
            f"{sign} {each.stretch:,g}",
            f"[{_STYLES[verdict]}]{verdict}[/]",
        )
    return table


def _stages(results: Result) -> Table:
    """CPU µs per event over the whole run (without the start); the machine's own speed."""
    table = Table(title="CPU µs per event (without the start)", title_justify="left")
    table.add_column("workload")
    for name in (*STAGES, "events/s (steady)", "first row", "loop ms"):
        table.add_column(name, justify="right")
    for name, result in _flat(results).items():
        if "cpu_us" not in result:
            continue
        started = result.get("started_cpu_us", {})
        cells = [
            f"{result['cpu_us'][stage]:.1f}"
            + (f" ({started[stage]:.1f})" if stage in started else "")
            for stage in STAGES
        ]
        speed = result.get("events_per_second", result.get("per_second", 0.0))
        steady_speed = result.get("steady_events_per_second")
        shown = f"{speed:,.0f}" + (f" ({steady_speed:,.0f})" if steady_speed else "")
        first = result.get("first_row_seconds")
        began = "" if first is None else f"{first:.2f} s"
        loop = result.get("reference_ms", {})
        table.add_row(
            name, *cells, shown, began, " / ".join(f"{each:.0f}" for each in loop.values())
        )
    return table


def _flat(results: Result) -> dict[str, Result]:
    """Workloads by name; those with parts (growth) one by one."""
    found: dict[str, Result] = {}
    for name, result in results.items():
        parts = {key: part for key, part in result.items() if isinstance(part, dict)}
        if "cpu_us" in result:
            found[name] = result
        else:
            found |= {f"{name} {key}": part for key, part in parts.items() if "cpu_us" in part}
    return found


def _short(value: float) -> float:
    """Three digits are what such measurements are worth."""
    if abs(value) >= 100:
        return round(value)
    return float(f"{value:.3g}")


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shortened(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_shortened(each) for each in value]
    return _short(value) if isinstance(value, float) else value
