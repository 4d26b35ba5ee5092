"""Services on this node: keeps the table's service chains as they are wanted, each change one transaction."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace

from weft.core.settings import Settings
from weft.network.cluster import ruleset
from weft.network.cluster.nftables import Nftables
from weft.network.cluster.ruleset import ServicePort

__all__ = ["ServicePort", "ServiceTable"]


class ServiceTable:
    """Knows what it applied last; what an earlier process left is cleared before the first change.

    Connections to an endpoint that has gone are not cut: TCP notices by itself, tracked UDP flows time out.
    """

    def __init__(self, settings: Settings, nftables: Nftables) -> None:
        self._settings = settings
        self._table = settings.instance
        self._nftables = nftables
        self._desired: Sequence[ServicePort] = ()
        self._announced: frozenset[str] = frozenset()
        self._applied: dict[str, ServicePort] | None = None
        self._lock = asyncio.Lock()

    async def apply(self, desired: Sequence[ServicePort]) -> bool:
        """Makes the table agree; whether anything had to change. Raises WeftError, and then tries all anew later."""
        async with self._lock:
            self._desired = desired
            return await asyncio.to_thread(self._apply, desired)

    async def announce(self, addresses: frozenset[str]) -> None:
        """Services of these cluster addresses answer machines outside, too, which have been told of them."""
        async with self._lock:
            if addresses == self._announced:
                return
            before, self._announced = self._announced, addresses
            if self._applied is None:
                return  # the next `apply` sees to it
            try:
                await asyncio.to_thread(self._apply, self._desired)
            except BaseException:
                self._announced = before
                raise

    def _apply(self, desired: Sequence[ServicePort]) -> bool:
        wanted = {each.chain: ruleset.reachable(self._settings, self._outside(each)) for each in desired}
        known = self._applied is not None
        commands = ruleset.change(self._table, self._applied or {}, wanted)
        text = commands if known else self._anew() + commands
        self._applied = None  # until it has worked
        if text:
            self._nftables.run(text)
        self._applied = wanted
        return bool(text)

    def _outside(self, service: ServicePort) -> ServicePort:
        if service.cluster_ip not in self._announced:
            return service
        return replace(service, external=(*service.external, service.cluster_ip))

    def _anew(self) -> str:
        """From whatever there is, also nothing, to a table without services."""
        listed = json.loads(self._nftables.run("list chains inet"))["nftables"]
        chains = [entry["chain"] for entry in listed if "chain" in entry]
        ours = [chain["name"] for chain in chains if chain["table"] == self._table]
        return ruleset.base(self._settings) + ruleset.clear_services(self._table, ours)
