"""Cluster addresses and node ports: unique, checked, given back."""

import asyncio
import ipaddress
from typing import Any

import pytest

from weft.api.gvr import ENDPOINTS, ENDPOINTSLICES, SERVICES
from weft.api.status import ApiError
from weft.client.base import Object
from weft.testing.apiserver import RunningServer


def service(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


async def refused(awaitable: Any) -> str:
    with pytest.raises(ApiError) as caught:
        await awaitable
    assert caught.value.reason == "Invalid"
    return caught.value.message


async def test_the_first_address_is_the_api_servers(server: RunningServer) -> None:
    own = await server.local.get(SERVICES, "kubernetes", "default")
    network = ipaddress.ip_network(server.settings.service_subnet)
    assert own["spec"]["clusterIP"] == str(network[1])
    endpoints = await server.local.get(ENDPOINTS, "kubernetes", "default")
    assert endpoints["subsets"][0]["ports"][0]["port"] == server.settings.api_port
    slice_ = await server.local.get(ENDPOINTSLICES, "kubernetes", "default")
    assert slice_["endpoints"][0]["addresses"] == [server.settings.gateway]


async def test_many_at_once_get_addresses_and_ports_of_their_own(server: RunningServer) -> None:
    made = await asyncio.gather(
        *(server.local.create(SERVICES, service(f"s{n}", type="NodePort"), "default") for n in range(100))
    )
    network = ipaddress.ip_network(server.settings.service_subnet)
    addresses = {obj["spec"]["clusterIP"] for obj in made}
    ports = {obj["spec"]["ports"][0]["nodePort"] for obj in made}
    assert len(addresses) == len(ports) == 100
    assert all(ipaddress.ip_address(address) in network for address in addresses)
    assert all(server.settings.node_port_min <= port <= server.settings.node_port_max for port in ports)
    assert all(obj["spec"]["clusterIPs"] == [obj["spec"]["clusterIP"]] for obj in made)


async def test_explicit_addresses(server: RunningServer) -> None:
    wanted = str(ipaddress.ip_network(server.settings.service_subnet)[77])
    client = server.local
    await client.create(SERVICES, service("a", clusterIP=wanted), "default")
    text = await refused(client.create(SERVICES, service("b", clusterIP=wanted), "default"))
    assert f"failed to allocate IP {wanted}: provided IP is already allocated" in text
    text = await refused(client.create(SERVICES, service("b", clusterIP="192.0.2.1"), "default"))
    assert "the provided IP (192.0.2.1) is not in the valid range. The range of valid IPs is" in text
    text = await refused(client.create(SERVICES, service("b", clusterIP="nonsense"), "default"))
    assert "must be a valid IP address" in text
    await client.delete(SERVICES, "a", "default")
    again = await client.create(SERVICES, service("b", clusterIP=wanted), "default")
    text = await refused(client.update(SERVICES, {**again, "spec": {**again["spec"], "clusterIP": "10.9.9.9"}}))
    assert "may not change once set" in text


async def test_one_of_many_gets_the_same_address(server: RunningServer) -> None:
    wanted = str(ipaddress.ip_network(server.settings.service_subnet)[78])
    results = await asyncio.gather(
        *(server.local.create(SERVICES, service(f"s{n}", clusterIP=wanted), "default") for n in range(10)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, dict) for result in results) == 1
    assert all("already allocated" in str(result) for result in results if isinstance(result, ApiError))


async def test_headless_and_external(server: RunningServer) -> None:
    client = server.local
    headless = await client.create(SERVICES, service("h", clusterIP="None"), "default")
    assert headless["spec"]["clusterIPs"] == ["None"]
    external = await client.create(
        SERVICES, service("e", type="ExternalName", externalName="example.com", ports=[]), "default"
    )
    assert "clusterIP" not in external["spec"]


async def test_node_ports(server: RunningServer) -> None:
    client = server.local
    port = server.settings.node_port_min + 5
    asked = service("a", type="NodePort", ports=[{"port": 80, "nodePort": port}])
    first = await client.create(SERVICES, asked, "default")
    assert first["spec"]["ports"][0]["nodePort"] == port
    text = await refused(client.create(SERVICES, {**asked, "metadata": {"name": "b"}}, "default"))
    assert f"spec.ports[0].nodePort: Invalid value: {port}: provided port is already allocated" in text
    far = service("b", type="NodePort", ports=[{"port": 80, "nodePort": 80}])
    text = await refused(client.create(SERVICES, far, "default"))
    assert "provided port is not in the valid range. The range of valid ports is" in text
    # A client that sends the port without its node port keeps it; one that changes the type gives it back.
    kept = await client.update(SERVICES, {**first, "spec": {**first["spec"], "ports": [{"port": 80}]}})
    assert kept["spec"]["ports"][0]["nodePort"] == port
    plain = {**kept, "spec": {**kept["spec"], "type": "ClusterIP", "ports": [{"port": 80}]}}
    assert "nodePort" not in (await client.update(SERVICES, plain))["spec"]["ports"][0]
    await client.create(SERVICES, {**asked, "metadata": {"name": "b"}}, "default")


async def test_a_refused_service_takes_nothing(server: RunningServer) -> None:
    hub = server.server.api.cache.hub("/registry/ranges/serviceips/")
    before = dict(hub.entries)
    bad = service("a", ports=[{"port": 0}])
    await refused(server.local.create(SERVICES, bad, "default"))
    assert hub.entries == before
