"""The DNS server, asked by dnspython over real sockets: from pods at the service's address, and from the host."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest
from podnet import Network, connect, open_socket

from weft.core.errors import ConflictError
from weft.core.sandbox import Sandbox
from weft.core.settings import Settings
from weft.network.cluster.dns import DnsServer, Records, server
from weft.network.southbound import netns

WEB = "web.default.svc.cluster.local"
RECORDS = Records(addresses={WEB: ("10.128.9.9",), "many.cluster.local": tuple(f"10.1.1.{n}" for n in range(99))})
UPSTREAM = "127.53.53.1"


@pytest.fixture
async def serving(network: Network) -> AsyncIterator[DnsServer]:
    started = server(network.settings)
    await started.start()
    started.set_records(RECORDS)
    yield started
    await started.stop()


async def query(
    where: Sandbox | None, address: str, name: str, kind: str = "A", *, tcp: bool = False
) -> dns.message.Message:
    message = dns.message.make_query(name, kind)

    def ask() -> dns.message.Message:
        if tcp:
            return dns.query.tcp(message, address, timeout=5)
        return dns.query.udp(message, address, timeout=5)

    inside = ask if where is None else lambda: netns.inside(Path(where.netns_path), ask)
    return await asyncio.to_thread(inside)


async def test_pods_and_the_host_find_services(network: Network, serving: DnsServer) -> None:
    pod = await network.pod("a")
    settings = network.settings
    for where in (pod, None):
        for address in (settings.dns_service_address, settings.gateway):
            for tcp in (False, True):
                found = await query(where, address, WEB, tcp=tcp)
                assert [item.to_text() for item in found.answer[0]] == ["10.128.9.9"]


async def test_a_long_answer_comes_by_tcp(network: Network, serving: DnsServer) -> None:
    short = await query(None, network.settings.gateway, "many.cluster.local")
    assert short.flags & dns.flags.TC
    whole = await query(None, network.settings.gateway, "many.cluster.local", tcp=True)
    assert len(whole.answer[0]) == 99


async def test_until_records_are_known_clients_are_told_to_ask_again(network: Network) -> None:
    started = server(network.settings)
    await started.start()
    try:
        assert (await query(None, network.settings.gateway, WEB)).rcode() == dns.rcode.SERVFAIL
        started.set_records(RECORDS)
        assert (await query(None, network.settings.gateway, WEB)).rcode() == dns.rcode.NOERROR
        assert (await query(None, network.settings.gateway, f"x.{WEB}")).rcode() == dns.rcode.NXDOMAIN
    finally:
        await started.stop()


async def test_addresses_of_ours_without_a_name_are_not_asked_elsewhere(network: Network, serving: DnsServer) -> None:
    name = ".".join(reversed(network.settings.gateway.split("."))) + ".in-addr.arpa"
    assert (await query(None, network.settings.gateway, name, "PTR")).rcode() == dns.rcode.NXDOMAIN


def forwarding(settings: Settings, resolvers: list[str]) -> DnsServer:
    file = settings.paths.root / "resolv.conf"
    file.write_text("".join(f"nameserver {each}\n" for each in resolvers))
    return DnsServer(settings.gateway, resolv_conf=file, aliases=(settings.dns_service_address,))


async def test_other_names_are_asked_of_the_hosts_resolvers(network: Network) -> None:
    settings = network.settings
    upstream = DnsServer(UPSTREAM)
    upstream.set_records(Records(domains=("test",), addresses={"www.example.test": ("192.0.2.80",)}))
    # Ourselves are skipped, else the question would go round; so is one that nobody is at.
    started = forwarding(settings, [settings.gateway, settings.dns_service_address, "127.53.53.2", UPSTREAM])
    await upstream.start()
    await started.start()
    started.set_records(RECORDS)
    try:
        for tcp in (False, True):
            found = await query(None, settings.gateway, "www.example.test", tcp=tcp)
            assert [item.to_text() for item in found.answer[0]] == ["192.0.2.80"]
            missing = await query(None, settings.gateway, "no.example.test", tcp=tcp)
            assert missing.rcode() == dns.rcode.NXDOMAIN
    finally:
        await started.stop()
        await upstream.stop()


async def test_without_resolvers_other_names_fail_at_once(network: Network) -> None:
    started = forwarding(network.settings, [network.settings.gateway])
    await started.start()
    started.set_records(RECORDS)
    try:
        await query(None, network.settings.gateway, WEB)
        begun = time.monotonic()
        assert (await query(None, network.settings.gateway, "example.org")).rcode() == dns.rcode.SERVFAIL
        assert time.monotonic() - begun < 1
    finally:
        await started.stop()


async def test_garbage_does_not_stop_it(network: Network, serving: DnsServer) -> None:
    gateway = network.settings.gateway
    with open_socket(None, socket.SOCK_DGRAM) as opened:
        for data in (b"", b"x", b"\0" * 12, b"\xff" * 600, dns.message.make_query(WEB, "A").to_wire()[:-1]):
            opened.sendto(data, (gateway, 53))
    _, writer = await connect(None, gateway, 53)
    writer.write(b"\x00\x05hello")
    await writer.drain()
    _, second = await connect(None, gateway, 53)
    second.write(b"\xff\xff")  # announces much, sends nothing
    await second.drain()
    assert (await query(None, gateway, WEB)).answer
    assert (await query(None, gateway, WEB, tcp=True)).answer
    writer.close()
    second.close()


async def test_several_questions_by_one_connection(network: Network, serving: DnsServer) -> None:
    reader, writer = await connect(None, network.settings.gateway, 53)
    for name in (WEB, f"x.{WEB}", WEB):
        wire = dns.message.make_query(name, "A").to_wire()
        writer.write(len(wire).to_bytes(2, "big") + wire)
    codes = []
    for _ in range(3):
        size = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), 5), "big")
        codes.append(dns.message.from_wire(await reader.readexactly(size)).rcode())
    assert codes == [dns.rcode.NOERROR, dns.rcode.NXDOMAIN, dns.rcode.NOERROR]
    writer.close()


async def test_a_taken_address_is_told(network: Network, serving: DnsServer) -> None:
    with pytest.raises(ConflictError, match=f"cannot serve DNS at {network.settings.gateway}:53"):
        await server(network.settings).start()
