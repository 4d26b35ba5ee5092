"""An API server for each test (it starts in a tenth of a second), and a namespace in it."""

from collections.abc import AsyncIterator

import pytest

from weft.api.gvr import NAMESPACES
from weft.core.ids import name_suffix
from weft.testing.apiserver import RunningServer, api_server


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with api_server() as running:
        yield running


@pytest.fixture
async def namespace(server: RunningServer) -> str:
    name = f"test-{name_suffix()}"
    await server.local.create(NAMESPACES, {"metadata": {"name": name}})
    return name
