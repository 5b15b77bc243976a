"""The whole way as a fixture: `way` on the shared stack, everything of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conftest import Addresses
from tests.faults.system import System


@pytest.fixture
async def way(
    stack: Addresses, database: str, mongo_database: str, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[System]:
    """Migrated, with topics; neither process runs yet."""
    async with System(stack.environment, database, mongo_database, topic_prefix, tmp_path) as found:
        yield found
