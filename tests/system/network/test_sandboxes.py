"""Sandboxes in the real kernel: reach, published ports, errors, and life across processes."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from podnet import Network, ask, ask_udp, new_settings, open_socket, running, shell

from weft.core.errors import ConflictError, InvalidError, UnsupportedError
from weft.core.sandbox import PortBinding, Sandbox
from weft.network.cluster.cleanup import remove_all
from weft.network.cluster.sandboxes import Sandboxes
from weft.network.southbound import netns
from weft.network.southbound import rtnetlink as rt
from weft.network.southbound.netlink import Netlink


def link_names() -> set[str]:
    with Netlink() as netlink:
        return set(netlink.links())


async def ping(where: Sandbox, address: str) -> None:
    await shell("nsenter", f"--net={where.netns_path}", "ping", "-c1", "-W2", "-q", address)


async def test_pods_reach_the_gateway_one_another_and_themselves(network: Network) -> None:
    a, b = await network.pod("a"), await network.pod("b")
    assert a.address != b.address
    assert a.gateway == network.settings.gateway
    for address in (a.gateway, b.address, a.address, "127.0.0.1"):
        await ping(a, address)
    await network.serve(a, 80, "a")
    assert await ask(b, a.address, 80) == ("a", b.address)
    assert await ask(None, a.address, 80) == ("a", a.gateway)


async def test_no_redirect_leads_pods_past_the_gateway(network: Network) -> None:
    a, b = await network.pod("a"), await network.pod("b")
    output = await shell("nsenter", f"--net={a.netns_path}", "ping", "-c3", "-i0.2", "-W2", b.address)
    assert "3 received" in output
    assert "Redirect" not in output


async def test_a_port_answers_on_every_address(network: Network) -> None:
    a = await network.pod("a", PortBinding(80))
    b = await network.pod("b")
    number = a.ports[0].host_port
    assert number > 1024
    await network.serve(a, 80, "a")
    gateway = network.settings.gateway
    assert await ask(None, "127.0.0.1", number) == ("a", gateway)
    assert await ask(None, gateway, number) == ("a", gateway)
    assert await ask(b, gateway, number) == ("a", b.address)
    assert await ask(a, gateway, number) == ("a", gateway)  # back to itself


async def test_a_udp_port(network: Network) -> None:
    a = await network.pod("a", PortBinding(53, "udp"))
    await network.serve_udp(a, 53, "a")
    for address in ("127.0.0.1", network.settings.gateway):
        assert (await ask_udp(None, address, a.ports[0].host_port))[0] == "a"


async def test_a_port_on_one_address_only(network: Network) -> None:
    a = await network.pod("a", PortBinding(80, host_ip="127.0.0.1"))
    await network.serve(a, 80, "a")
    number = a.ports[0].host_port
    assert (await ask(None, "127.0.0.1", number))[0] == "a"
    with pytest.raises(ConnectionRefusedError):
        await ask(None, network.settings.gateway, number)


async def test_a_removed_port_is_closed_and_free(network: Network) -> None:
    a = await network.pod("a", PortBinding(80))
    await network.serve(a, 80, "a")
    number = a.ports[0].host_port
    await ask(None, "127.0.0.1", number)
    await network.sandboxes.remove("a")
    with pytest.raises(ConnectionRefusedError):
        await ask(None, "127.0.0.1", number)
    again = await network.pod("b", PortBinding(80, host_port=number))
    assert again.ports == (PortBinding(80, host_port=number),)


async def test_a_taken_port_leaves_nothing(network: Network) -> None:
    a = await network.pod("a", PortBinding(80))
    with open_socket(None) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        instance = network.settings.instance
        links = {name for name in link_names() if name.startswith(instance)}
        for number in (a.ports[0].host_port, other.getsockname()[1]):
            text = f"Bind for 0.0.0.0:{number} failed: port is already allocated"
            with pytest.raises(ConflictError, match=text):
                await network.pod("b", PortBinding(81), PortBinding(80, host_port=number))
    assert network.sandboxes.get("b") is None
    assert {name for name in link_names() if name.startswith(instance)} == links
    assert {file.name for file in (network.settings.paths.run / "sandboxes").iterdir()} == {"a.json"}
    assert {file.name for file in (network.settings.paths.run / "netns").iterdir()} == {"a"}


@pytest.mark.parametrize(
    ("port", "error"),
    [
        (PortBinding(0), InvalidError),
        (PortBinding(80, host_port=70000), InvalidError),
        (PortBinding(80, host_ip="localhost"), InvalidError),
        (PortBinding(80, host_ip="203.0.113.1"), InvalidError),  # not ours
        (PortBinding(80, host_ip="::1"), UnsupportedError),
        (PortBinding(80, "sctp"), UnsupportedError),  # type: ignore[arg-type]
    ],
)
async def test_a_port_that_cannot_be(network: Network, port: PortBinding, error: type[Exception]) -> None:
    with pytest.raises(error):
        await network.pod("a", port)
    assert not network.sandboxes.list()


async def test_names_cannot_leave_their_directory(network: Network) -> None:
    for name in ("", "../a", "a/b", ".", "x" * 300):
        with pytest.raises(InvalidError):
            await network.pod(name)


async def test_making_one_again_returns_it(network: Network) -> None:
    a = await network.pod("a", PortBinding(80))
    assert await network.pod("a", PortBinding(80)) == a
    assert await network.pod("a", *a.ports) == a
    with pytest.raises(ConflictError):
        await network.pod("a", PortBinding(81))
    await network.sandboxes.remove("never-was")


async def test_many_at_once(network: Network) -> None:
    made = await asyncio.gather(*(network.pod(f"p{n}", PortBinding(80)) for n in range(20)))
    assert len({each.address for each in made}) == 20
    assert len({each.ports[0].host_port for each in made}) == 20
    await asyncio.gather(*(network.sandboxes.remove(each.id) for each in made))
    assert not network.sandboxes.list()


async def test_outsiders_reach_what_is_published_and_nothing_else(network: Network) -> None:
    """A machine next to ours, that routes to our pods and services as it likes."""
    settings = network.settings
    a = await network.pod("a", PortBinding(80))
    await network.serve(a, 80, "a")
    outside = Sandbox("outside", str(settings.paths.run / "netns/outside"), "198.51.100.2", 30, "198.51.100.1", "")
    name = f"{settings.instance}0000face"  # goes with the instance
    netns.create(Path(outside.netns_path))
    await shell("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", outside.netns_path)
    await shell("ip", "addr", "add", "198.51.100.1/30", "dev", name)
    await shell("ip", "link", "set", name, "up")
    for command in ("addr add 198.51.100.2/30 dev eth0", "link set eth0 up", "route add default via 198.51.100.1"):
        await shell("nsenter", f"--net={outside.netns_path}", "ip", *command.split())
    assert await ask(outside, "198.51.100.1", a.ports[0].host_port) == ("a", "198.51.100.2")
    for address in (a.address, settings.dns_service_address):
        with pytest.raises(ConnectionRefusedError):
            await ask(outside, address, 80)
    await network.serve(outside, 81, "outside")
    assert await ask(a, "198.51.100.2", 81) == ("outside", "198.51.100.1")  # pods have the host's address out there


async def test_instances_are_kept_apart(network: Network) -> None:
    async with running() as other:
        ours, theirs = await network.pod("a"), await other.pod("a", PortBinding(80))
        await other.serve(theirs, 80, "theirs")
        assert (await ask(ours, other.settings.gateway, theirs.ports[0].host_port))[0] == "theirs"
        with pytest.raises(ConnectionRefusedError):
            await ask(ours, theirs.address, 80)
        await remove_all(network.settings)
        assert (await ask(None, "127.0.0.1", theirs.ports[0].host_port))[0] == "theirs"


async def test_a_pod_cannot_reach_the_hosts_loopback(network: Network) -> None:
    """CVE-2020-8558: routing loopback addresses on the bridge must not open what listens on loopback only."""
    a = await network.pod("a")
    port = await network.serve(None, 0, "host", "127.0.0.1")
    inside = ("nsenter", f"--net={a.netns_path}")
    await shell(*inside, "sysctl", "-q", "-w", "net.ipv4.conf.eth0.route_localnet=1")
    await shell(*inside, "ip", "address", "del", "127.0.0.1/8", "dev", "lo")
    await shell(*inside, "ip", "route", "add", "127.0.0.1", "via", a.gateway, "dev", "eth0", "src", a.address)
    with open_socket(a) as opened:
        opened.bind((a.address, 0))
        with pytest.raises((TimeoutError, ConnectionRefusedError)):
            async with asyncio.timeout(1):
                await asyncio.get_running_loop().sock_connect(opened, ("127.0.0.1", port))


async def test_a_subnet_that_is_routed_elsewhere_is_refused(network: Network) -> None:
    settings = new_settings()
    settings = type(settings).load_or_create(settings.paths.root, pod_subnet=network.settings.pod_subnet)
    second = Sandboxes(settings)
    with pytest.raises(ConflictError, match=f"routed to {network.settings.bridge} already"):
        await second.open()
    await second.close()
    assert settings.bridge not in link_names()
    assert not Path("/run/weft-forwarding", settings.instance).exists()
    shutil.rmtree(settings.paths.root)


CHILD = """
import asyncio, json, sys
from dataclasses import asdict
from pathlib import Path
from weft.core.sandbox import PortBinding
from weft.core.settings import Settings
from weft.network.cluster.sandboxes import Sandboxes

async def main():
    sandboxes = Sandboxes(Settings.load(Path(sys.argv[1])))
    await sandboxes.open()
    made = [await sandboxes.create("a", [PortBinding(80)]), await sandboxes.create("b")]
    print(json.dumps([asdict(each) for each in made]), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_what_a_killed_process_made_is_taken_over() -> None:
    settings = new_settings()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(settings.paths.root), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    made = json.loads(await asyncio.wait_for(child.stdout.readline(), 20))
    os.kill(child.pid, signal.SIGKILL)
    await child.wait()
    async with running(settings) as network:
        listed = {each.id: each for each in network.sandboxes.list()}
        assert [listed[each["id"]].address for each in made] == [each["address"] for each in made]
        a, number = listed["a"], made[0]["ports"][0]["host_port"]
        assert a.ports == (PortBinding(80, "tcp", "", number),)
        await network.serve(a, 80, "a")
        assert (await ask(None, "127.0.0.1", number))[0] == "a"
        with pytest.raises(ConflictError):
            await network.pod("c", PortBinding(80, host_port=number))
        assert (await network.pod("c")).address not in {each["address"] for each in made}


async def test_what_is_half_made_is_cleared_and_what_was_broken_is_repaired(network: Network) -> None:
    a, b = await network.pod("a", PortBinding(80)), await network.pod("b")
    await network.serve(a, 80, "a")
    run = network.settings.paths.run
    veth = network.sandboxes._veth("a")
    with Netlink() as netlink:
        netlink.request(rt.delete_link(veth))  # by somebody's hand
    netns.create(run / "netns" / "half")  # killed before it was recorded
    netns.delete(Path(b.netns_path))
    (run / "sandboxes" / "torn.json").write_text("{")
    await network.reopen()
    assert [each.id for each in network.sandboxes.list()] == ["a"]
    assert {entry.name for entry in (run / "netns").iterdir()} == {"a"}
    assert {entry.name for entry in (run / "sandboxes").iterdir()} == {"a.json"}
    assert (await ask(None, "127.0.0.1", a.ports[0].host_port))[0] == "a"


async def test_a_flushed_table_comes_back_with_the_next_change(network: Network) -> None:
    a = await network.pod("a", PortBinding(80))
    await network.serve(a, 80, "a")
    network.sandboxes.nftables.delete_table(network.settings.instance)
    b = await network.pod("b", PortBinding(80))
    await network.serve(b, 80, "b")
    for each in (a, b):
        assert (await ask(None, "127.0.0.1", each.ports[0].host_port))[0] == each.id


async def test_clean_up_needs_no_record_and_takes_labs_along(network: Network) -> None:
    settings = network.settings
    await network.pod("a", PortBinding(80))
    lab = netns.SHOWN / f"{settings.instance}-ring-r1"
    netns.create(lab)
    for file in (settings.paths.run / "sandboxes").iterdir():
        file.unlink()
    await remove_all(settings)
    assert not lab.exists()
    await remove_all(settings)


def test_pins_are_not_covered_by_ip_netns() -> None:
    """`ip netns` mounts its directory on itself at first use; pins that were there before must stay removable."""
    script = """
import subprocess
from pathlib import Path
from weft.network.southbound import netns
pin = Path("/run/netns/ours")
netns.create(pin)
subprocess.run(["ip", "netns", "add", "theirs"], check=True)
netns.delete(pin)
assert [each.name for each in Path("/run/netns").iterdir()] == ["theirs"]
subprocess.run(["ip", "netns", "delete", "theirs"], check=True)
assert "/run/netns/ours" not in Path("/proc/self/mountinfo").read_text()
"""
    commands = 'while umount -l /run/netns 2>/dev/null; do :; done; mount -t tmpfs none /run; exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", commands, sys.executable, script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_socket_opened_inside_stays_inside_and_the_caller_outside(tmp_path: Path) -> None:
    pin, own = tmp_path / "ns", os.stat("/proc/thread-self/ns/net").st_ino
    netns.create(pin)
    try:
        with netns.inside(pin, socket.socket) as opened, pytest.raises(OSError, match="unreachable"):
            opened.connect(("192.0.2.9", 9))
        with Netlink(pin) as netlink:
            assert netlink.links().keys().isdisjoint(link_names() - {"lo", "ifb0", "ifb1"})
        assert os.stat("/proc/thread-self/ns/net").st_ino == own
        with pytest.raises(FileExistsError):
            netns.create(pin)
    finally:
        netns.delete(pin)
    assert not pin.exists()
