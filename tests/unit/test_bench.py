"""The arithmetic of the benchmark: CPU between two moments, medians, verdicts."""

import asyncio
import os
import subprocess
import sys
import time

import pytest

from bench.accounting import Samples, cpu_seconds, family_cpu_seconds, peak_rss_bytes
from bench.figures import FIGURES, Figure, without_start
from bench.report import medians
from bench.steady import quantiles

BURN = "import time\nwhile time.process_time() < {seconds}: pass"


def test_cpu_of_ended_children_is_counted() -> None:
    before = cpu_seconds(os.getpid())
    subprocess.run([sys.executable, "-c", BURN.format(seconds=0.3)], check=True)
    assert cpu_seconds(os.getpid()) - before >= 0.28


async def test_cpu_of_living_children_is_counted_but_for_one() -> None:
    code = BURN.format(seconds=0.3) + "\nprint('burnt', flush=True)\ntime.sleep(60)"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    await child.stdout.readline()
    own = cpu_seconds(os.getpid())
    assert family_cpu_seconds(os.getpid()) - own >= 0.28
    assert family_cpu_seconds(os.getpid(), without=child.pid) - own < 0.2
    child.kill()
    await child.wait()


def test_peak_memory_is_the_most_there_ever_was() -> None:
    block = bytearray(50_000_000)
    del block
    assert peak_rss_bytes(os.getpid()) > 50_000_000


def test_cpu_between_two_moments_is_a_straight_line() -> None:
    samples = Samples()
    now = time.time()
    samples.times = [now, now + 1, now + 2]
    samples.values = [{"broker": 1.0}, {"broker": 2.0, "source": 0.4}, {"broker": 4.0, "source": 1}]
    found = samples.between(now + 0.5, now + 1.5)
    assert found == pytest.approx({"broker": 1.5, "source": 0.5})
    assert samples.whole() == pytest.approx({"broker": 3.0, "source": 1.0})


def test_medians_of_nested_results() -> None:
    runs = [{"a": {"x": n}, "b": 10 * n, "list": [n]} for n in (3, 1, 2)]
    assert medians(runs) == {"a": {"x": 2}, "b": 20, "list": [3]}


def test_quantiles_take_the_nearest_rank() -> None:
    assert quantiles([float(n) for n in range(1, 101)]) == {
        "p50": 51.0,
        "p90": 91.0,
        "p99": 100.0,
        "max": 100.0,
    }


@pytest.mark.parametrize(
    ("at_least", "values"),
    [
        (False, {5.0: "stretch", 6.0: "stretch", 8.0: "goal", 10.0: "goal", 10.1: "missed"}),
        (True, {41.0: "stretch", 40.0: "stretch", 30.0: "goal", 24.9: "missed"}),
    ],
)
def test_verdicts(at_least: bool, values: dict[float, str]) -> None:
    goal, stretch = (25, 40) if at_least else (10, 6)
    figure = Figure("x", "s", ("a", "b"), goal, stretch, at_least)
    assert {value: figure.verdict(value) for value in values} == values


def test_a_workload_that_was_not_run_has_no_figure() -> None:
    assert {each.value({}) for each in FIGURES} == {None}


def test_what_the_start_costs_is_taken_from_what_an_event_costs() -> None:
    backlog = {
        "events": 100_000,
        "first_row_seconds": 1.0,
        "cpu_us": {"source": 20.0, "consumer": 9.0, "broker": 5.0},
    }
    start = {"cpu_seconds": {"source": 0.4, "consumer": 0.3}}
    found = without_start({"start": start, "inserts": backlog})
    assert found["inserts"]["started_cpu_us"] == pytest.approx({"source": 16.0, "consumer": 6.0})
    assert without_start({"inserts": backlog}) == {"inserts": backlog}
