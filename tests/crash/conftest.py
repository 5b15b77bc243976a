"""`make crash`: its fixtures, and its result as the last line."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.crash.lives import Counts
from tests.faults.conftest import (
    migrated,
    migrated_database,
    mongod,
    nursery,
    own_way,
    way,
)

__all__ = ["migrated", "migrated_database", "mongod", "nursery", "own_way", "way"]

RESULT = pytest.StashKey[dict[str, Any]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULT] = {"ok": True, "crashes": {}, "failed": [], "began": time.time()}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        _FAILED.append(report.nodeid)


_FAILED: list[str] = []


def pytest_unconfigure(config: pytest.Config) -> None:
    """After everything pytest says."""
    result = config.stash[RESULT]
    seconds = round(time.time() - result.pop("began"))
    result |= {"ok": not _FAILED, "failed": _FAILED, "seconds": seconds}
    print(json.dumps(result))


@pytest.fixture
def crashes(request: pytest.FixtureRequest) -> Iterator[Counts]:
    """Put a test's counts and seed here; they are told in the result, with its seconds."""
    counted, began = Counts(), time.monotonic()
    yield counted
    seconds = round(time.monotonic() - began)
    told = {name: {**counts, "seconds": seconds} for name, counts in counted.items()}
    request.config.stash[RESULT]["crashes"] |= told
