"""A Linux data plane of the test's own, gone afterwards."""

import secrets
from collections.abc import AsyncIterator

import pytest
from diamond import Diamond

from weft.network.dataplane.linux import LinuxDataplane
from weft.network.southbound import netns


@pytest.fixture
async def diamond() -> AsyncIterator[Diamond]:
    prefix = "wd" + secrets.token_hex(3)
    plane = LinuxDataplane(prefix)
    yield Diamond(plane)
    await plane.remove()
    plane.close()
    assert not list(netns.SHOWN.glob(f"{prefix}-*"))
