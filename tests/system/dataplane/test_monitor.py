"""Changes in namespaces are heard, told apart by part, and never lost without a word."""

import os
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Network, ip_network
from pathlib import Path

import pytest

from weft.network.southbound import netns
from weft.network.southbound import rtnetlink as rt
from weft.network.southbound.monitor import Monitor, Part
from weft.network.southbound.netlink import Netlink

PORT = 0x41234567


@pytest.fixture
def spaces() -> Iterator[list[Path]]:
    paths = [netns.SHOWN / f"wm{os.getpid()}-{n}" for n in (1, 2)]
    assert netns.create_each(paths, lambda path: path) == paths
    yield paths
    for path in paths:
        netns.delete(path)


@pytest.fixture
def monitor(spaces: list[Path]) -> Iterator[Monitor]:
    made = Monitor(PORT)
    for path in spaces:
        made.add(path.name, path)
    yield made
    made.close()


def ip(space: Path, text: str) -> None:
    subprocess.run(("ip", "-n", space.name, *text.split()), check=True)


def test_each_part_is_told_of_its_namespace(spaces: list[Path], monitor: Monitor) -> None:
    first, second = spaces
    assert monitor.changes() == {}
    ip(first, "route add blackhole 10.0.0.0/8 proto 206")
    assert monitor.changes() == {first.name: Part.ROUTES}
    ip(second, "route add blackhole 10.0.0.0/8 proto static")
    assert monitor.changes() == {}  # others' routes are theirs
    ip(second, "link add sw0 type bridge")
    assert Part.LINKS in monitor.changes()[second.name]
    ip(second, "address add 10.1.0.1/24 dev sw0")
    assert monitor.changes() == {second.name: Part.ADDRESSES}
    ip(first, "route replace blackhole 10.0.0.0/8 proto static")
    assert monitor.changes() == {first.name: Part.ROUTES}  # ours, replaced by others
    ip(second, "address del 10.1.0.1/24 dev sw0")
    assert monitor.changes() == {second.name: Part.ADDRESSES | Part.FEWER}


def test_what_we_do_to_routes_is_not_news(spaces: list[Path], monitor: Monitor) -> None:
    route = rt.Route(ip_network("10.0.0.0/8"))
    with Netlink(spaces[0], port=PORT) as ours, Netlink(spaces[0]) as other:
        ours.request(rt.replace_route(route))
        assert monitor.changes() == {}
        other.request(rt.delete_route(route))
        assert monitor.changes() == {spaces[0].name: Part.ROUTES}


def test_too_much_to_tell_means_everything(spaces: list[Path], monitor: Monitor) -> None:
    with Netlink(spaces[0]) as other:
        other.request(
            *(rt.replace_route(rt.Route(IPv4Network((n << 8, 24)))) for n in range(0x140000, 0x140000 + 30_000))
        )
    changed = monitor.changes()
    assert changed == dict.fromkeys((path.name for path in spaces), Part.ALL)
    monitor.discard(spaces[0].name)
    ip(spaces[0], "link add sw0 type bridge")
    ip(spaces[1], "link add sw0 type bridge")
    assert set(monitor.changes()) == {spaces[1].name}
