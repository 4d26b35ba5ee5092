"""Clients under load: writers that remember what was acknowledged, and a watcher that must see it all, once."""

import asyncio
from collections.abc import Sequence

from weft.api.gvr import CONFIGMAPS
from weft.api.status import ApiError
from weft.client.base import Client
from weft.core.errors import UnavailableError


class Load:
    """Works with whichever of the clients answers."""

    def __init__(self, clients: Sequence[Client], writers: int = 8) -> None:
        self.clients = list(clients)
        self.writers = writers
        self.acknowledged: dict[str, str] = {}
        self.seen: list[tuple[str, str, int]] = []
        self.expired = 0
        self.failures = 0
        self._going = True

    async def start(self) -> None:
        listed = await self.clients[0].list(CONFIGMAPS, "default")
        self.version = listed.resource_version
        self._watching = asyncio.create_task(self._watch())
        self._tasks = [asyncio.create_task(self._write(number)) for number in range(self.writers)]

    async def acknowledge(self, more: int) -> None:
        """Waits until so many more writes were acknowledged."""
        wanted = len(self.acknowledged) + more
        for _ in range(3000):
            if len(self.acknowledged) >= wanted:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{len(self.acknowledged)} of {wanted} writes were acknowledged")

    async def finish(self) -> None:
        """Ends the writers; the watcher must then have caught up within seconds."""
        self._going = False
        await asyncio.gather(*self._tasks)
        for _ in range(500):
            if self.acknowledged.keys() <= {name for _, name, _ in self.seen} or self.expired:
                break
            await asyncio.sleep(0.01)
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)

    async def _write(self, number: int) -> None:
        at, count = number, 0
        while self._going:
            count += 1
            name = f"load-{number}-{count}"
            while True:
                try:
                    made = await self._client(at).create(CONFIGMAPS, {"metadata": {"name": name}}, "default")
                    self.acknowledged[name] = made["metadata"]["uid"]
                    break
                except UnavailableError:
                    self.failures += 1
                except ApiError as error:
                    if error.code == 409:  # done before, but nobody had said so
                        break
                    if error.code not in (503, 504):
                        raise
                at += 1
                await asyncio.sleep(0.05)

    async def _watch(self) -> None:
        at = 0
        while True:
            try:
                async for event in self._client(at).watch(CONFIGMAPS, "default", resource_version=self.version):
                    metadata = event.object["metadata"]
                    self.version = metadata["resourceVersion"]
                    if event.type != "BOOKMARK":
                        self.seen.append((event.type, metadata["name"], int(self.version)))
            except UnavailableError:
                pass
            except ApiError as error:
                if error.code == 410:
                    self.expired += 1
                    return
                if error.code not in (503, 504):
                    raise
            at += 1
            await asyncio.sleep(0.05)

    def _client(self, at: int) -> Client:
        return self.clients[at % len(self.clients)]

    def check(self, present: dict[str, str]) -> None:
        """`present` are uids by name, as they are now: everything acknowledged, and what the watch told, once each."""
        missing = {name for name, uid in self.acknowledged.items() if present.get(name) != uid}
        assert not missing
        names = [name for _, name, _ in self.seen if name.startswith("load-")]
        assert len(names) == len(set(names)), "an event came twice"
        assert self.expired or set(self.acknowledged) <= set(names), "an event was lost"
        versions = [version for _, _, version in self.seen]
        assert versions == sorted(versions)
