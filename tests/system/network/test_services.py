"""Services in the real kernel: balance, change, refusal, and the way to the API server."""

import asyncio
import shutil
from collections import Counter
from dataclasses import replace

import pytest
from podnet import Network, ask, ask_udp, connect, new_settings, shell

from weft.core.sandbox import Sandbox
from weft.network.cluster.ruleset import ServicePort, base
from weft.network.cluster.services import ServiceTable


def node_port(network: Network) -> int:
    """Not the same for tests that run side by side: all hold for every address of the machine."""
    return 22000 + int(network.settings.pod_subnet.split(".")[1])


def address(network: Network, last: int = 77) -> str:
    """A ClusterIP."""
    return network.settings.service_subnet.replace(".0.0/16", f".3.{last}")


def web(network: Network, *pods: Sandbox, **changes: object) -> ServicePort:
    values: dict[str, object] = {"protocol": "tcp", "port": 80, "node_port": node_port(network)} | changes
    return ServicePort(
        "default",
        "web",
        "",
        address(network),
        endpoints=tuple((pod.address, 8080) for pod in pods),
        **values,  # type: ignore[arg-type]
    )


@pytest.fixture
async def table(network: Network) -> ServiceTable:
    return ServiceTable(network.settings, network.sandboxes.nftables)


async def served(network: Network, name: str) -> Sandbox:
    pod = await network.pod(name)
    await network.serve(pod, 8080, name)
    return pod


async def names(where: Sandbox | None, target: str, port: int, times: int = 24) -> Counter[str]:
    return Counter([(await ask(where, target, port))[0] for _ in range(times)])


async def test_a_service_balances_from_everywhere(network: Network, table: ServiceTable) -> None:
    a, b, client = await served(network, "a"), await served(network, "b"), await network.pod("client")
    assert await table.apply([web(network, a, b)])
    for where in (None, client, a):  # also from one that is an endpoint itself
        found = await names(where, address(network), 80)
        assert set(found) == {"a", "b"}
    for where, target in ((None, "127.0.0.1"), (None, network.settings.gateway), (client, network.settings.gateway)):
        assert set(await names(where, target, node_port(network))) == {"a", "b"}


async def test_pods_are_seen_by_their_own_address(network: Network, table: ServiceTable) -> None:
    a, client = await served(network, "a"), await network.pod("client")
    await table.apply([web(network, a)])
    assert await ask(client, address(network), 80) == ("a", client.address)
    assert await ask(a, address(network), 80) == ("a", a.gateway)  # itself: else it would answer itself directly


async def test_what_a_dead_instance_left_does_not_touch_our_pods(network: Network, table: ServiceTable) -> None:
    """Killed, its bridge gone, its table not: and its subnet has been given to us."""
    a, client = await served(network, "a"), await network.pod("client")
    await table.apply([web(network, a)])
    dead = replace(new_settings(), pod_subnet=network.settings.pod_subnet)
    nftables = network.sandboxes.nftables
    nftables.run(base(dead))
    try:
        assert await ask(client, address(network), 80) == ("a", client.address)
    finally:
        nftables.delete_table(dead.instance)
        shutil.rmtree(dead.paths.root)


async def test_a_removed_endpoint_gets_nothing_new_and_keeps_the_old(network: Network, table: ServiceTable) -> None:
    a, b = await served(network, "a"), await served(network, "b")
    await table.apply([web(network, a)])
    reader, writer = await connect(None, address(network), 80)
    assert (await reader.readline()).startswith(b"a ")
    await table.apply([web(network, b)])
    assert set(await names(None, address(network), 80)) == {"b"}
    writer.write(b"still there\n")
    assert await asyncio.wait_for(reader.readline(), 5) == b"still there\n"
    writer.close()


async def test_no_endpoints_and_no_service_are_refused_at_once(network: Network, table: ServiceTable) -> None:
    a = await served(network, "a")
    await table.apply([web(network, a)])
    await table.apply([web(network)])
    for where in (None, a):
        for target in (address(network), address(network, 78)):
            async with asyncio.timeout(1):
                with pytest.raises(ConnectionRefusedError):
                    await ask(where, target, 80)
                with pytest.raises((ConnectionRefusedError, PermissionError)):  # EPERM: how the host's own output fails
                    await ask_udp(where, target, 80)
    with pytest.raises(ConnectionRefusedError):
        await ask(None, "127.0.0.1", node_port(network))
    await table.apply([web(network, a)])
    assert (await ask(None, address(network), 80))[0] == "a"


async def test_udp_and_affinity(network: Network, table: ServiceTable) -> None:
    pods = [await network.pod(name) for name in "abc"]
    for pod in pods:
        await network.serve_udp(pod, 8080, pod.id)
        await network.serve(pod, 8080, pod.id)
    await table.apply(
        [
            web(network, *pods, protocol="udp", port=53, node_port=0),
            web(network, *pods, client_affinity=True),
        ]
    )
    seen = {(await ask_udp(None, address(network), 53))[0] for _ in range(24)}
    assert seen == {"a", "b", "c"}
    for client in (None, *pods):
        assert len(await names(client, address(network), 80, 8)) == 1


async def test_nothing_to_change_is_no_change(network: Network, table: ServiceTable) -> None:
    a = await served(network, "a")
    assert await table.apply([web(network, a)])
    assert not await table.apply([web(network, a)])


async def test_a_new_process_takes_over_without_a_gap(network: Network, table: ServiceTable) -> None:
    a, b = await served(network, "a"), await served(network, "b")
    gone = ServicePort("default", "gone", "", address(network, 78), "tcp", 80, 0, ((a.address, 8080),))
    await table.apply([web(network, a), gone])
    await network.reopen()
    assert (await ask(None, address(network), 80))[0] == "a"
    await ServiceTable(network.settings, network.sandboxes.nftables).apply([web(network, b)])
    assert (await ask(None, address(network), 80))[0] == "b"
    with pytest.raises(ConnectionRefusedError):
        await ask(None, address(network, 78), 80)


async def test_a_lost_table_is_made_anew(network: Network, table: ServiceTable) -> None:
    a = await served(network, "a")
    await table.apply([web(network, a)])
    network.sandboxes.nftables.delete_table(network.settings.instance)
    with pytest.raises(Exception, match="cannot set up packet rules"):
        await table.apply([])
    await table.apply([web(network, a)])
    assert (await ask(None, address(network), 80))[0] == "a"


async def test_an_api_server_on_loopback_is_reached_by_pods(network: Network, table: ServiceTable) -> None:
    settings = network.settings
    await network.serve(None, settings.api_port, "api", "127.0.0.1")
    told = ((settings.gateway, settings.api_port),)
    cluster_ip = settings.service_subnet.replace(".0.0/16", ".0.1")
    await table.apply([ServicePort("default", "kubernetes", "https", cluster_ip, "tcp", 443, 0, told)])
    pod = await network.pod("a")
    assert await ask(pod, cluster_ip, 443) == ("api", pod.address)
    assert await ask(pod, settings.gateway, settings.api_port) == ("api", pod.address)
    assert (await ask(None, cluster_ip, 443))[0] == "api"


async def test_many_services(network: Network, table: ServiceTable) -> None:
    a, b = await served(network, "a"), await served(network, "b")
    many = [
        ServicePort("default", f"s{n}", "", address(network, n), "tcp", 80, 0, ((a.address, 8080), (b.address, 8080)))
        for n in range(1, 201)
    ]
    await table.apply(many)
    assert (await ask(None, address(network, 200), 80))[0] in "ab"
    await table.apply(many[:-1])
    with pytest.raises(ConnectionRefusedError):
        await ask(None, address(network, 200), 80)
    assert (await ask(None, address(network, 199), 80))[0] in "ab"


async def test_machines_outside_reach_a_service_at_its_external_addresses(
    network: Network, table: ServiceTable
) -> None:
    """An external address always, the cluster's own only once it has been announced."""
    a, client = await served(network, "a"), await network.pod("client")
    ns, third = f"out{network.settings.instance}", network.settings.pod_subnet.split(".")[1]
    router, outside = f"10.252.{third}.1", f"10.252.{third}.2"
    await shell("ip", "netns", "add", ns)
    try:
        await shell("ip", "link", "add", f"o{third}", "type", "veth", "peer", "name", "eth0", "netns", ns)
        await shell("ip", "addr", "add", f"{router}/30", "dev", f"o{third}")
        await shell("ip", "link", "set", f"o{third}", "up")
        await shell("ip", "-n", ns, "addr", "add", f"{outside}/30", "dev", "eth0")
        await shell("ip", "-n", ns, "link", "set", "eth0", "up")
        await shell("ip", "-n", ns, "route", "add", "default", "via", router)

        async def get(target: str) -> bool:
            command = ["ip", "netns", "exec", ns, "timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/{target}/80"]
            process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
            return await process.wait() == 0

        await table.apply([web(network, a, external=("203.0.113.99",))])
        assert await get("203.0.113.99")
        assert (await names(client, "203.0.113.99", 80, 2)) == {"a": 2}
        assert not await get(address(network))
        await table.announce(frozenset({address(network)}))
        assert await get(address(network))
        await table.announce(frozenset())
        assert not await get(address(network))
        await table.apply([web(network, a)])
        assert not await get("203.0.113.99")
    finally:
        await shell("ip", "netns", "del", ns)
