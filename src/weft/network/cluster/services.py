"""Services on this node: keeps the table's service chains as they are wanted, each change one transaction."""

import asyncio
import json
from collections.abc import Sequence

from weft.core.settings import Settings
from weft.network.cluster.nftables import Nftables
from weft.network.cluster.ruleset import CHAIN_PREFIX, ServicePort, change

__all__ = ["ServicePort", "ServiceTable"]


class ServiceTable:
    """Knows what it applied last; what an earlier process left is cleared before the first change.

    Connections to an endpoint that has gone are not cut: TCP notices by itself, tracked UDP flows time out.
    """

    def __init__(self, settings: Settings, nftables: Nftables) -> None:
        self._table = settings.instance
        self._nftables = nftables
        self._applied: dict[str, ServicePort] | None = None
        self._lock = asyncio.Lock()

    async def apply(self, desired: Sequence[ServicePort]) -> bool:
        """Makes the table agree; whether anything had to change. Raises WeftError, and then tries all anew later."""
        async with self._lock:
            return await asyncio.to_thread(self._apply, desired)

    def _apply(self, desired: Sequence[ServicePort]) -> bool:
        text = "" if self._applied is not None else self._clear()
        commands = change(self._table, self._applied or {}, desired)
        if text or commands:
            self._applied = None
            self._nftables.run(text + commands)
        self._applied = {each.chain: each for each in desired}
        return bool(commands)

    def _clear(self) -> str:
        listed = json.loads(self._nftables.run(f"list table inet {self._table}"))["nftables"]
        chains = [entry["chain"]["name"] for entry in listed if "chain" in entry]
        stale = [name for name in chains if name.startswith(CHAIN_PREFIX)]
        text = "".join(f"flush map inet {self._table} {name}\n" for name in ("services", "node_ports"))
        text += f"flush set inet {self._table} without_endpoints\n"
        text += "".join(f"flush chain inet {self._table} {name}\n" for name in stale)
        return text + "".join(f"delete chain inet {self._table} {name}\n" for name in stale)
