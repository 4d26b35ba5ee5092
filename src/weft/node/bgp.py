"""The node's BGP speaker: announces addresses of services to routers, as BGPPeers and BGPAdvertisements say.

In: those objects, Services, EndpointSlices and this node's labels, by watches. Out: a `Session` for each peer of this
node, what it announces, and the state of it in the BGPPeer's status. Services are watched only while there is a peer.
"""

import asyncio
import logging
from collections.abc import Mapping
from ipaddress import IPv4Network, ip_address
from typing import Any, Protocol

from weft.api.gvr import ENDPOINTSLICES, NODES, SERVICES
from weft.api.status import ApiError
from weft.client.base import Client, Object
from weft.client.informer import Informers
from weft.core.errors import InvalidError, WeftError
from weft.core.ids import short_hash
from weft.core.settings import Settings
from weft.core.tasks import Tasks
from weft.network.routing.bgp import Advertisement, BgpPeer, announcements, read_advertisement, read_peer
from weft.network.routing.bgp.announce import Node
from weft.network.topology.resources import BGP_ADVERTISEMENTS, BGP_PEERS
from weft.node.exabgp import Session

logger = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0


class Reachable(Protocol):
    """Who lets in what comes for the cluster addresses that were announced; `ServiceTable` does."""

    async def announce(self, addresses: frozenset[str]) -> None: ...


class BgpSpeaker:
    """`run` until it is cancelled; the peers are told that we leave, and withdraw what we announced."""

    def __init__(self, settings: Settings, client: Client, table: Reachable) -> None:
        self._settings = settings
        self._client = client
        self._table = table
        self._informers = Informers(client)
        self._peers = self._informers.of(BGP_PEERS)
        self._sessions: dict[str, tuple[Session, asyncio.Task[None]]] = {}
        self._wrong: dict[str, str] = {}
        self._woken = asyncio.Event()
        self._watched = False

    async def run(self) -> None:
        tasks = Tasks()
        self._peers.on_change(self._wake)
        self._informers.start(tasks)
        try:
            await self._peers.synced()
            while True:
                self._woken.clear()
                await self._follow()
                if await self._tell():
                    await self._woken.wait()
                else:
                    await asyncio.sleep(_RETRY_SECONDS)
        finally:
            for name in list(self._sessions):
                await self._end(name)
            await tasks.close()

    def _wake(self, old: Object | None = None, new: Object | None = None) -> None:
        self._woken.set()

    async def _follow(self) -> None:
        """Sessions and what they announce become as they should be."""
        node = await self._node() if self._peers.list() else None
        wanted: dict[str, BgpPeer] = {}
        self._wrong.clear()
        for obj in self._peers.list() if node is not None else ():
            assert node is not None
            try:
                peer = read_peer(obj)
            except InvalidError as error:
                self._wrong[obj["metadata"]["name"]] = str(error)
                continue
            if peer.concerns(node.labels):
                wanted[peer.name] = peer
        for name in [name for name, (session, _) in self._sessions.items() if wanted.get(name) != session.peer]:
            await self._end(name)
        for name, peer in wanted.items():
            if name not in self._sessions:
                directory = self._settings.paths.run / "bgp" / short_hash(name, 10)
                session = Session(peer, directory, self._wake)
                task = asyncio.get_running_loop().create_task(session.run(), name=f"BGP session with {name}")
                self._sessions[name] = (session, task)
        if not wanted:
            await self._let_in(frozenset())
            return
        assert node is not None
        services, slices = self._informers.of(SERVICES).list(), self._informers.of(ENDPOINTSLICES).list()
        advertisements = self._advertisements()
        told = {
            name: announcements(session.peer, node, advertisements, services, slices)
            for name, (session, _) in self._sessions.items()
        }
        prefixes = {each.prefix for found in told.values() for each in found}
        addresses = {service["spec"].get("clusterIP") or "None" for service in services} - {"None"}
        await self._let_in(frozenset(each for each in addresses if _within(each, prefixes)))
        for name, found in told.items():
            self._sessions[name][0].announce(found)

    async def _let_in(self, addresses: frozenset[str]) -> None:
        try:
            await self._table.announce(addresses)
        except (WeftError, OSError) as error:
            logger.warning("cannot let in what comes for announced addresses: %s", error)
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._wake)

    async def _node(self) -> Node:
        """Watches what else matters, from the first peer on."""
        others = [self._informers.of(gvr) for gvr in (BGP_ADVERTISEMENTS, SERVICES, ENDPOINTSLICES)]
        mine = self._informers.of(NODES, field_selector=f"metadata.name={self._settings.node_name}")
        for informer in (*others, mine):
            if not self._watched:
                informer.on_change(self._wake)
            await informer.synced()
        self._watched = True
        obj = mine.get(None, self._settings.node_name)
        labels: Mapping[str, str] = (obj or {"metadata": {}})["metadata"].get("labels") or {}
        return Node(self._settings.node_name, labels)

    def _advertisements(self) -> list[Advertisement]:
        found = []
        for obj in self._informers.of(BGP_ADVERTISEMENTS).list():
            try:
                found.append(read_advertisement(obj))
            except InvalidError as error:
                logger.warning(
                    "a BGPAdvertisement is wrong", extra={"name": obj["metadata"]["name"], "error": str(error)}
                )
        return found

    async def _end(self, name: str) -> None:
        _, task = self._sessions.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _tell(self) -> bool:
        """Writes this node's part of the statuses; False where that is to be tried again."""
        good = True
        for obj in self._peers.list():
            name, before = obj["metadata"]["name"], (obj.get("status") or {}).get("sessions") or []
            own = self._status(name)
            others = [each for each in before if each["node"] != self._settings.node_name]
            after = sorted([*others, *own], key=lambda each: str(each["node"]))
            if after == before:
                continue
            try:
                await self._client.update(BGP_PEERS, {**obj, "status": {"sessions": after}}, subresource="status")
            except (WeftError, OSError) as error:
                if not (isinstance(error, ApiError) and error.code == 404):
                    good = False
        return good

    def _status(self, name: str) -> list[dict[str, Any]]:
        if name in self._wrong:
            return [{"node": self._settings.node_name, "state": "Idle", "message": self._wrong[name]}]
        if name not in self._sessions:
            return []
        session, _ = self._sessions[name]
        said: dict[str, Any] = {"node": self._settings.node_name, "state": session.state}
        if session.state == "Established":
            said["announced"] = session.announced
        if session.message:
            said["message"] = session.message
        return [said]


def _within(address: str, prefixes: set[IPv4Network]) -> bool:
    parsed = ip_address(address)
    return any(parsed in prefix for prefix in prefixes)
