"""Makes each test a pod network of its own."""

from collections.abc import AsyncIterator

import pytest
from podnet import Network, running


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    async with running() as opened:
        yield opened
