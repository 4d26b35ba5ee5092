"""Services and their endpoints -> the network's table of services.

`service_ports` is pure: resources in, ServicePort values out. `ServiceFeed` watches and hands them on; changes that
come while one is being applied are applied together next.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from weft.api.gvr import ENDPOINTSLICES, SERVICES
from weft.client.base import Object
from weft.client.informer import Informers
from weft.core.errors import WeftError
from weft.network.cluster.ruleset import ServicePort

logger = logging.getLogger(__name__)
SERVICE_NAME = "kubernetes.io/service-name"
_PROTOCOLS = {"TCP": "tcp", "UDP": "udp"}
_RETRY_SECONDS = 1.0


class Table(Protocol):
    """`weft.network.cluster.services.ServiceTable` is one."""

    async def apply(self, desired: Sequence[ServicePort]) -> bool: ...


def service_ports(services: Iterable[Object], slices: Iterable[Object]) -> list[ServicePort]:
    """Every port of every service that has an address of its own; headless and external ones have none."""
    by_service: dict[tuple[str, str], list[Object]] = {}
    for each in slices:
        metadata = each["metadata"]
        name = (metadata.get("labels") or {}).get(SERVICE_NAME)
        if name and each.get("addressType", "IPv4") == "IPv4":
            by_service.setdefault((metadata["namespace"], name), []).append(each)
    found = []
    taken: set[tuple[str, str, int]] = set()  # what several services claim is of the first
    for service in sorted(services, key=lambda each: (each["metadata"]["namespace"], each["metadata"]["name"])):
        metadata, spec = service["metadata"], service["spec"]
        address = spec.get("clusterIP")
        if spec.get("type") == "ExternalName" or not address or address == "None":
            continue
        own = by_service.get((metadata["namespace"], metadata["name"]), [])
        for port in spec.get("ports") or []:
            protocol = _PROTOCOLS.get(port.get("protocol", "TCP"))
            if protocol is None:
                continue  # SCTP: the table knows TCP and UDP
            ways = {outside: (outside, protocol, int(port["port"])) for outside in _external(service)}
            external = tuple(outside for outside, way in ways.items() if way not in taken)
            taken.update(ways.values())
            found.append(
                ServicePort(
                    namespace=metadata["namespace"],
                    name=metadata["name"],
                    port_name=port.get("name") or "",
                    cluster_ip=address,
                    protocol="tcp" if protocol == "tcp" else "udp",
                    port=int(port["port"]),
                    node_port=int(port.get("nodePort") or 0),
                    endpoints=_endpoints(own, port),
                    client_affinity=spec.get("sessionAffinity") == "ClientIP",
                    external=external,
                )
            )
    return found


def _external(service: Object) -> list[str]:
    """The IPv4 addresses outside of the cluster by which a service is known."""
    spec = service["spec"]
    found = list(spec.get("externalIPs") or [])
    if spec.get("type") == "LoadBalancer":
        ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
        found += [each["ip"] for each in ingress if each.get("ip")]
    return sorted({each for each in found if ":" not in each})


def _endpoints(slices: Iterable[Object], port: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """(address, port) of those that are ready; where none is, of those that still serve while they end (KEP-1669)."""
    ready, serving = set(), set()
    for each in slices:
        numbers = [
            int(entry["port"])
            for entry in each.get("ports") or []
            if (entry.get("name") or "") == (port.get("name") or "")
            and entry.get("protocol", "TCP") == port.get("protocol", "TCP")
            and entry.get("port") is not None
        ]
        for endpoint in each.get("endpoints") or []:
            conditions = endpoint.get("conditions") or {}
            pairs = {(address, number) for address in endpoint.get("addresses") or [] for number in numbers}
            if conditions.get("ready") is not False:
                ready |= pairs
            elif conditions.get("serving") and conditions.get("terminating"):
                serving |= pairs
    return tuple(sorted(ready or serving))


class ServiceFeed:
    """Keeps a table like the API's Services."""

    name = "services"

    def __init__(self, informers: Informers, table: Table) -> None:
        self._services, self._slices = informers.of(SERVICES), informers.of(ENDPOINTSLICES)
        self._table = table
        self._changed = asyncio.Event()
        self._services.on_change(self._wake)
        self._slices.on_change(self._wake)

    def _wake(self, old: Object | None, new: Object | None) -> None:
        self._changed.set()

    async def run(self) -> None:
        await self._services.synced()
        await self._slices.synced()
        while True:
            self._changed.clear()
            try:
                await self._table.apply(service_ports(self._services.list(), self._slices.list()))
            except (WeftError, OSError) as error:
                logger.warning("cannot apply the services: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            await self._changed.wait()
