"""A company of one test's own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conftest import Addresses
from tests.e2e.company import Company


@pytest.fixture
async def company(
    stack: Addresses, mongo_database: str, database: str, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[Company]:
    found = Company(stack, mongo_database, database, topic_prefix, tmp_path)
    try:
        yield found
    finally:
        await found.close()
