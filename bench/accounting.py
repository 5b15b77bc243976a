"""CPU and memory of processes, from the kernel's accounting."""

import asyncio
import contextlib
import os
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
_UTIME, _CSTIME = 11, 14
"""Among the numbers behind the program's name; between them stand stime and cutime."""
SAMPLE_SECONDS = 0.1
MB = 1_000_000

Cpu = dict[str, float]
"""CPU seconds by stage."""


def cpu_seconds(pid: int) -> float:
    """User and system time of the process and of its children that have ended."""
    text = (_PROC / str(pid) / "stat").read_text()
    numbers = text.rpartition(")")[2].split()
    return sum(map(int, numbers[_UTIME : _CSTIME + 1])) * _TICK_SECONDS


def family_cpu_seconds(pid: int, without: int = 0) -> float:
    """Of a process and all its children, living and ended, but not of the one child `without`."""
    total = cpu_seconds(pid)
    children = (_PROC / str(pid) / "task" / str(pid) / "children").read_text()
    for child in map(int, children.split()):
        if child != without:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                total += cpu_seconds(child)
    return total


def peak_rss_bytes(pid: int) -> int:
    """The most memory the process ever had in RAM (VmHWM)."""
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"process {pid} has no VmHWM")


@dataclass
class Samples:
    """CPU seconds of each stage over a run; `times` are Unix seconds."""

    times: list[float] = field(default_factory=list)
    values: list[Cpu] = field(default_factory=list)

    def take(self, read: Callable[[], Cpu]) -> None:
        """One more sample."""
        self.times.append(time.time())
        self.values.append(read())

    def at(self, moment: float) -> Cpu:
        """CPU seconds at a moment, by a straight line between two samples."""
        right = min(max(bisect_left(self.times, moment), 1), len(self.times) - 1)
        before, after = self.values[right - 1], self.values[right]
        width = self.times[right] - self.times[right - 1]
        share = min(max((moment - self.times[right - 1]) / width, 0.0), 1.0)
        return {
            stage: before.get(stage, 0.0) + share * (value - before.get(stage, 0.0))
            for stage, value in after.items()
        }

    def between(self, start: float, end: float) -> Cpu:
        """CPU seconds spent from one moment to another."""
        first, last = self.at(start), self.at(end)
        return {stage: value - first.get(stage, 0.0) for stage, value in last.items()}

    def whole(self) -> Cpu:
        """From the first sample to the last; a stage that was not there at first began at zero."""
        first = self.values[0]
        return {stage: value - first.get(stage, 0.0) for stage, value in self.values[-1].items()}


@contextlib.asynccontextmanager
async def sampling(read: Callable[[], Cpu]) -> AsyncIterator[Samples]:
    """Samples while the block runs, the first at its begin and the last at its end."""
    samples = Samples()
    samples.take(read)

    async def go_on() -> None:
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            samples.take(read)

    sampler = asyncio.create_task(go_on(), name="sampler")
    try:
        yield samples
    finally:
        sampler.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sampler
    samples.take(read)
