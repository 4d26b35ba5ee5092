"""pytest fixtures: `pytest_plugins = ["weft.testing.pytest_plugin"]` in a conftest.py (docs/testing.md).

`weft_cluster` is a cluster for one test; `weft_shared_cluster` one for the whole session, with `weft_namespace`, a new
namespace in it for each test; `weft_cluster_factory` starts clusters with other options.
"""

import contextlib
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from weft.testing.cluster import Cluster, Options


@pytest.fixture
def weft_cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def weft_shared_cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def weft_namespace(weft_shared_cluster: Cluster) -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex[:8]}"
    weft_shared_cluster.kubectl("create", "namespace", name)
    yield name
    weft_shared_cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def weft_cluster_factory() -> Iterator[Callable[..., Cluster]]:
    """`weft_cluster_factory(controllers=False, nodes=3)` starts a cluster that is stopped after the test."""
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> Cluster:
            return stack.enter_context(Cluster(Options(**options)))

        yield make
