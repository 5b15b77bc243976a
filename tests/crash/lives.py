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

Counts = dict[str, dict[str, int]]
"""What a test did, and how often: `{"source: soft stops": {"crashes": 118, "seed": 11}}`."""

LIVES_MAX = 20_000
PASSED, PAIR = "all after ", " then "
"""See `points.Pairs`."""
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
        self._soft = self._crash.get("SIGNAL") == "SIGTERM"
        self._seen = way.folder / f"{verb}.points"
        self._stopping = False
        self._cut = False
        self._life: Life | None = None
        self._known = 0
        self._turn = asyncio.Lock()
        self.deaths = 0
        self.seconds: dict[str, float] = {}
        """How long the life took that ended at a point."""

    @property
    def points(self) -> list[str]:
        lines = self._seen.read_text().splitlines() if self._seen.exists() else []
        return [line for line in lines if not line.startswith(PASSED)]

    @property
    def _last(self) -> str:
        """Of two crashes in a row, where the first one was; empty: the next one is the first."""
        last = self.points[-1] if self.points else ""
        return "" if PAIR in last else last

    @property
    def _environment(self) -> dict[str, str]:
        return {
            **self._way.environment,
            "CDC_INSTANCE": f"{self._way.prefix}-{self._verb}",
            "CDC_HTTP__LISTEN": "",
            "CDC_HTTP__CONSUMER_LISTEN": "",
            "CRASH_SEEN": str(self._seen),
            "CRASH_LAST": self._last,
            **{f"CRASH_{name}": value for name, value in self._crash.items()},
        }

    async def live(self) -> None:
        """From life to life, until one ends in peace after `stop`."""
        for _ in range(LIVES_MAX):
            async with self._turn:
                known = self._known = len(self.points)
                born_at = time.monotonic()
                began_at = self._log.stat().st_size if self._log.exists() else 0
                # Two soft signals are one that is not soft: the last life gets ours alone.
                armed = not (self._soft and self._stopping)
                environment = self._environment | ({} if armed else {"CRASH_ONLY": "nothing"})
                self._life = await self._nursery.born([self._verb], environment, self._log)
                code = await self._end(self._life, began_at, armed=armed)
            died_at = self.points[known:]
            if not died_at and code == 0 and self._stopping:
                return
            if not died_at and code == -signal.SIGKILL and (self._cut or self._soft):
                continue
            cut_short = self._soft and self._cut and code == -signal.SIGKILL  # while it drained
            wanted = code if cut_short else 0 if self._soft else -signal.SIGKILL
            assert code == wanted, f"ended with {code} at {died_at}\n{self._way.last_words()}"
            assert len(died_at) == 1, f"a life of several deaths: {died_at}"
            self.deaths += 1
            self.seconds[died_at[0]] = time.monotonic() - born_at
        raise AssertionError(f"it dies for ever; last at {self.points[-1]}")

    @asynccontextmanager
    async def nobody(self) -> AsyncIterator[None]:
        """The life that is now is cut off, and there is none in the body; one that drains may."""
        self._cut = True
        drains = self._soft and len(self.points) > self._known
        if self._life is not None and not drains:
            self._life.signal(signal.SIGKILL)
        async with self._turn:
            yield
        self._cut = False

    async def _end(self, life: Life, began_at: int, *, armed: bool) -> int:
        """Waits for the end of this life; asks for it, once it works, where that is wanted."""
        known, asked = len(self.points), False
        while not life.ended.done():
            died = len(self.points) > known
            if self._stopping and not asked and not died and self._works(began_at):
                life.signal(signal.SIGKILL if self._soft and armed else signal.SIGTERM)
                asked = True
            if asked or died:
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
