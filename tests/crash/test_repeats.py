"""Every crash point again: at its second and third passing, in pairs, and with a soft signal."""

from collections.abc import Awaitable, Callable

import pytest

from tests.crash.lives import Counts, Lives
from tests.crash.nursery import Nursery
from tests.crash.story import consumer_story, source_story
from tests.faults.system import System

pytestmark = pytest.mark.timeout(3600)

Story = Callable[..., Awaitable[Lives]]
STORIES = {"source": source_story, "consumer": consumer_story}
SOFT_SEED, PAIRS_SEED = 11, 12
COMMITS = {
    "source": "AddPartitionsToTxn,Produce,EndTxn,commit_transaction",
    "consumer": "move_offsets,COMMIT",
}


@pytest.mark.parametrize("who", STORIES)
@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_killed_at_the_nth_passing_of_every_point(
    nursery: Nursery, way: System, crashes: Counts, who: str, nth: int
) -> None:
    """What a life does again it does with another state behind it."""
    lives = await STORIES[who](nursery, way, {"NTH": str(nth)}, seed=nth)
    crashes[f"{who}: killed at passing {nth}"] = {"crashes": lives.deaths, "seed": nth}
    assert lives.deaths


@pytest.mark.parametrize("who", STORIES)
async def test_stopped_softly_at_every_point(
    nursery: Nursery, way: System, crashes: Counts, who: str
) -> None:
    """Each stop drains and ends with 0, and the result is that of any other end."""
    lives = await STORIES[who](nursery, way, {"SIGNAL": "SIGTERM"}, seed=SOFT_SEED)
    crashes[f"{who}: soft stops"] = {"crashes": lives.deaths, "seed": SOFT_SEED}
    assert lives.deaths


@pytest.mark.parametrize("who", STORIES)
async def test_killed_in_a_commit_and_again_in_the_recovery_from_it(
    nursery: Nursery, way: System, crashes: Counts, who: str
) -> None:
    """Two crashes in a row: the second at every point that the recovery from the first passes."""
    lives = await STORIES[who](nursery, way, {"FIRST": COMMITS[who]}, seed=PAIRS_SEED)
    pairs = sum(" then " in point for point in lives.points)
    crashes[f"{who}: pairs"] = {"pairs": pairs, "crashes": lives.deaths, "seed": PAIRS_SEED}
    assert lives.deaths
