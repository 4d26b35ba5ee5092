"""Services and endpoints -> names (Kubernetes DNS-based service discovery, specification 1.1.0).

`records` is pure: resources in, Records out. `DnsFeed` watches and hands them to the DNS server.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

from weft.api.gvr import ENDPOINTSLICES, SERVICES
from weft.client.base import Object
from weft.client.informer import Informers
from weft.core.settings import Settings
from weft.network.cluster.dns import Records
from weft.node.services import SERVICE_NAME


class RecordSink(Protocol):
    """`weft.network.cluster.dns.DnsServer` is one."""

    def set_records(self, records: Records) -> None: ...


def records(services: Iterable[Object], slices: Iterable[Object], domain: str) -> Records:
    """A and SRV of services, A of the endpoints of headless ones, PTR of both."""
    build = _Builder(domain)
    by_service: dict[tuple[str, str], list[Object]] = {}
    for each in slices:
        name = (each["metadata"].get("labels") or {}).get(SERVICE_NAME)
        if name:
            by_service.setdefault((each["metadata"]["namespace"], name), []).append(each)
    for service in services:
        metadata, spec = service["metadata"], service["spec"]
        base = f"{metadata['name']}.{metadata['namespace']}.svc.{domain}"
        own = by_service.get((metadata["namespace"], metadata["name"]), [])
        if spec.get("type") == "ExternalName":
            continue
        if spec.get("clusterIP") not in (None, "", "None"):
            build.cluster_ip(base, spec)
        else:
            build.headless(base, spec, own)
    return build.records()


class _Builder:
    def __init__(self, domain: str) -> None:
        self._domain = domain
        self._addresses: dict[str, set[str]] = {}
        self._services: dict[str, set[tuple[str, int]]] = {}
        self._pointers: dict[str, str] = {}

    def cluster_ip(self, base: str, spec: Any) -> None:
        address = spec["clusterIP"]
        self._addresses.setdefault(base, set()).add(address)
        self._pointers[address] = base
        for port in spec.get("ports") or []:
            self._service(base, port, base, int(port["port"]))

    def headless(self, base: str, spec: Any, slices: Iterable[Object]) -> None:
        for each in slices:
            ports = [port for port in each.get("ports") or [] if port.get("port") is not None]
            for endpoint in each.get("endpoints") or []:
                if (endpoint.get("conditions") or {}).get("ready") is False:
                    continue
                for address in endpoint.get("addresses") or []:
                    host = f"{endpoint.get('hostname') or address.replace('.', '-')}.{base}"
                    self._addresses.setdefault(base, set()).add(address)
                    self._addresses.setdefault(host, set()).add(address)
                    # A name that somebody chose is better than one made of the address.
                    if endpoint.get("hostname") or address not in self._pointers:
                        self._pointers[address] = host
                    for port in ports:
                        self._service(base, port, host, int(port["port"]))

    def _service(self, base: str, port: Any, target: str, number: int) -> None:
        if port.get("name"):
            name = f"_{port['name']}._{port.get('protocol', 'TCP').lower()}.{base}".lower()
            self._services.setdefault(name, set()).add((target.lower(), number))

    def records(self) -> Records:
        return Records(
            domains=(self._domain,),
            addresses={name.lower(): tuple(sorted(each)) for name, each in self._addresses.items()},
            services={name: tuple(sorted(each)) for name, each in self._services.items()},
            pointers=self._pointers,
        )


class DnsFeed:
    """Keeps the DNS server like the API's Services."""

    name = "dns"

    def __init__(self, informers: Informers, sink: RecordSink, settings: Settings) -> None:
        self._services, self._slices = informers.of(SERVICES), informers.of(ENDPOINTSLICES)
        self._sink, self._domain = sink, settings.cluster_domain
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
            self._sink.set_records(records(self._services.list(), self._slices.list(), self._domain))
            await self._changed.wait()
