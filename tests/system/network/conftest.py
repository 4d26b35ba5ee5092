"""Makes each test a pod network of its own."""

from collections.abc import AsyncIterator

import pytest
from podnet import Network, new_settings, running


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    async with running(new_settings()) as opened:
        yield opened
