"""What the cache does when the store can no longer tell what happened: it loads all again, and watches must too."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path

import orjson
import pytest

from weft.api.gvr import CONFIGMAPS
from weft.api.status import ApiError
from weft.apiserver.server import ApiServer
from weft.core.settings import Settings, free_port
from weft.store.base import CompactedError, Delete, Operation, Put, RangeResult, WatchBatch
from weft.store.sqlite import SqliteStore


class Gappy(SqliteStore):
    """A store whose watches can be made to miss something, as a cluster that was away and compacted meanwhile."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gap = asyncio.Event()
        self.filled = asyncio.Event()
        self.filled.set()

    async def watch(self, prefix: str, from_revision: int) -> AsyncGenerator[WatchBatch, None]:
        if from_revision <= self.compacted:
            raise CompactedError(from_revision, self.compacted)
        stream = super().watch(prefix, from_revision)
        yield await anext(stream)
        while True:
            coming = asyncio.ensure_future(anext(stream))
            broken = asyncio.ensure_future(self.gap.wait())
            try:
                await asyncio.wait((coming, broken), return_when=asyncio.FIRST_COMPLETED)
                if broken.done():
                    raise CompactedError(from_revision, self.compacted)
                yield await coming
            finally:
                coming.cancel()
                broken.cancel()
                await asyncio.gather(coming, broken, return_exceptions=True)

    async def range(
        self, prefix: str, at_revision: int | None = None, limit: int = 0, start_after: str = ""
    ) -> RangeResult:
        await self.filled.wait()
        return await super().range(prefix, at_revision, limit, start_after)

    async def miss(self, operations: Sequence[Operation]) -> int:
        """Does something that no watch sees."""
        self.filled.clear()
        self.gap.set()
        await asyncio.sleep(0)
        revision = (await self.txn([], operations)).revision
        await self.compact(revision)
        self.gap.clear()
        self.filled.set()
        return revision


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    settings = Settings.load_or_create(tmp_path, api_port=free_port())
    server = ApiServer(settings, Gappy(tmp_path / "store.db"))
    await server.start()
    yield server
    await server.stop()


async def test_a_gap_is_closed_and_watches_learn_of_it(server: ApiServer) -> None:
    client, store = server.local, server._store
    assert isinstance(store, Gappy)
    for name in ("kept", "gone", "changed"):
        await client.create(CONFIGMAPS, {"metadata": {"name": name}}, "default")
    listed = await client.list(CONFIGMAPS, "default")
    events = []

    async def watch(version: str) -> None:
        async for event in client.watch(CONFIGMAPS, "default", resource_version=version):
            events.append(event)

    watching = asyncio.create_task(watch(listed.resource_version))
    await asyncio.sleep(0.02)
    prefix = "/registry/core/configmaps/default/"
    found = await store.get(prefix + "changed")
    assert found is not None
    changed = {**orjson.loads(found.value), "data": {"a": "b"}}
    new = {**changed, "metadata": {**changed["metadata"], "name": "new"}}
    missed = await store.miss(
        [
            Delete(prefix + "gone"),
            Put(prefix + "changed", orjson.dumps(changed)),
            Put(prefix + "new", orjson.dumps(new)),
        ]
    )
    await asyncio.wait_for(watching, 5)  # it ended
    assert events == []
    await asyncio.wait_for(server.api.cache.reach(missed), 5)
    now = await client.list(CONFIGMAPS, "default")
    assert [item["metadata"]["name"] for item in now.items if item["metadata"]["name"] != "kube-root-ca.crt"] == [
        "changed",
        "kept",
        "new",
    ]
    assert (await client.get(CONFIGMAPS, "changed", "default"))["data"] == {"a": "b"}
    with pytest.raises(ApiError) as error:  # and beginning where it was is refused
        await watch(listed.resource_version)
    assert error.value.code == 410
    watching = asyncio.create_task(watch(now.resource_version))
    await client.create(CONFIGMAPS, {"metadata": {"name": "later"}}, "default")
    for _ in range(100):
        if events:
            break
        await asyncio.sleep(0.01)
    assert [event.object["metadata"]["name"] for event in events] == ["later"]
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
