"""Each of our processes is killed once at every point where it talks to a server.

The points are not listed anywhere: what a process passes is a point, and it is deadly the first
time (`tests/crash`). Repeats, pairs and soft signals are `make crash`.
"""

import pytest

from tests.crash.lives import Lives
from tests.crash.nursery import Nursery
from tests.crash.story import consumer_story, source_story
from tests.faults.system import System

pytestmark = pytest.mark.timeout(1200)


async def test_o2_source_killed_at_every_point_loses_and_doubles_nothing(
    nursery: Nursery, way: System
) -> None:
    """Wherever `cdc run` dies, the next one goes on: no change lost, none twice, none backwards."""
    lives = await source_story(nursery, way)
    produced = "Produce cursor and events"
    _met(lives, "InitProducerId", produced, "EndTxn", "getMore", "find")
    assert lives.deaths == len(lives.points) > 100


async def test_o2_consumer_killed_at_every_point_applies_each_event_once(
    nursery: Nursery, way: System
) -> None:
    """Wherever `cdc consume` dies, offsets and rows agree, and each event counts once."""
    lives = await consumer_story(nursery, way)
    _met(lives, "BEGIN", "COMMIT", "UPDATE sync.offsets")
    assert lives.deaths == len(lives.points) > 50


def _met(lives: Lives, *steps: str) -> None:
    """It died before, inside and after each of these."""
    for step in steps:
        moments = {point.rpartition(" ")[2] for point in lives.points if step in point}
        assert {"before", "inside", "after"} <= moments, step
