"""One of our processes, living and dying: ended at every point that it has not ended at before.

Each life dies at the first new point it passes (the process does that to itself, `points.py`);
the next one is started as any operator would start it. The chain is over when a life has passed
nothing new from its start through its work to its end.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from tests.crash.nursery import Life, Nursery
from tests.faults.system import System

LIVES_MAX = 3000
LOOK_SECONDS = 0.02
DRAIN_SECONDS_MAX = 30.0
WORKING = ('"state":"idle"', '"state":"streaming"', '"state":"consuming"')


class Lives:
    """`deaths` counts the lives that ended at a point; `points` tells where, in order."""

    def __init__(
        self, nursery: Nursery, way: System, verb: str, crash: Mapping[str, str] | None = None
    ) -> None:
        """`crash`: variables without their `CRASH_`, see `launch.py`."""
        self._nursery = nursery
        self._way = way
        self._verb = verb
        self._log = way.source.log if verb == "run" else way.consumer.log
        self._crash = dict(crash or {})
        self._seen = way.folder / f"{verb}.points"
        self._stopping = False
        self._cut = False
        self._life: Life | None = None
        self._turn = asyncio.Lock()
        self.deaths = 0
        self.seconds: dict[str, float] = {}
        """How long the life took that ended at a point."""

    @property
    def points(self) -> list[str]:
        return self._seen.read_text().splitlines() if self._seen.exists() else []

    @property
    def _environment(self) -> dict[str, str]:
        return {
            **self._way.environment,
            "CDC_INSTANCE": f"{self._way.prefix}-{self._verb}",
            "CDC_HTTP__LISTEN": "",
            "CDC_HTTP__CONSUMER_LISTEN": "",
            "CRASH_SEEN": str(self._seen),
            **{f"CRASH_{name}": value for name, value in self._crash.items()},
        }

    async def live(self) -> None:
        """From life to life, until one ends in peace after `stop`."""
        number = signal.Signals[self._crash.get("SIGNAL", "SIGKILL")]
        by_signal = -number if number == signal.SIGKILL else 0
        for _ in range(LIVES_MAX):
            async with self._turn:
                known, born_at = len(self.points), time.monotonic()
                began_at = self._log.stat().st_size if self._log.exists() else 0
                self._life = await self._nursery.born([self._verb], self._environment, self._log)
                code = await self._end(self._life, began_at)
            died_at = self.points[known:]
            if not died_at and code == 0 and self._stopping:
                return
            if not died_at and self._cut:
                continue
            assert code == by_signal, f"ended with {code} at {died_at}\n{self._way.last_words()}"
            assert len(died_at) == 1, f"a life of several deaths: {died_at}"
            self.deaths += 1
            self.seconds[died_at[0]] = time.monotonic() - born_at
        raise AssertionError(f"it dies for ever; last at {self.points[-1]}")

    @asynccontextmanager
    async def nobody(self) -> AsyncIterator[None]:
        """The life that is now is cut off, and there is none in the body."""
        self._cut = True
        if self._life is not None:
            self._life.signal(signal.SIGKILL)
        async with self._turn:
            yield
        self._cut = False

    async def _end(self, life: Life, began_at: int) -> int:
        """Waits for the end of this life; asks for it, once it works, where that is wanted."""
        known, asked = len(self.points), False
        while not life.ended.done():
            if self._stopping and not asked and self._works(began_at):
                life.signal(signal.SIGTERM)
                asked = True
            if asked or len(self.points) > known:
                async with asyncio.timeout(DRAIN_SECONDS_MAX):
                    return await life.ended
            await asyncio.wait({life.ended}, timeout=LOOK_SECONDS)
        return life.ended.result()

    def _works(self, began_at: int) -> bool:
        """Whether this life has said so."""
        with self._log.open() as log:
            log.seek(began_at)
            text = log.read()
        return any(each in text for each in WORKING)

    def stop(self) -> None:
        """From now on each life is asked to end, until one does so in peace."""
        self._stopping = True
