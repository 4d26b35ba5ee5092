"""A real Open vSwitch: discovery, set-up by first packets, failures with and without a controller, restarts, ECMP."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from square import Square, run, until


@pytest.fixture
async def square() -> AsyncIterator[Square]:
    it = Square()
    try:
        await it.start()
        yield it
    finally:
        await it.stop()


async def test_it_learns_links_and_hosts_and_applies_nothing_twice(square: Square) -> None:
    await square.controller.settled()
    assert not square.controller.brain.hosts
    assert await square.lost(1, 3, 3) <= 1  # the first packets make the path
    assert await square.lost(1, 3, 10) == 0
    assert {end.datapath for end in square.controller.brain.fabric.hosts.values()} >= {1, 3}
    await square.controller.settled()
    for datapath in range(1, 5):
        assert await square.controller.plane.reconcile(datapath) == 0
    # A flow of somebody else stays, one of ours that is lost comes back.
    bridge = square.ovs.management(square.bridge(2))
    await run("ovs-ofctl", "-O", "OpenFlow13", "add-flow", bridge, "cookie=0x5,priority=7,udp,actions=drop")
    await run("ovs-ofctl", "-O", "OpenFlow13", "--strict", "del-flows", bridge, "priority=60000,dl_type=0x88cc")
    assert await square.controller.plane.reconcile(2) == 1
    assert "priority=7,udp" in await square.flows(2)


async def test_switches_take_the_backup_without_a_controller(square: Square) -> None:
    await square.meet()
    await square.controller.stop()
    for at, to in ((1, 2), (3, 4)):
        for source, target in ((1, 2), (2, 1), (1, 3), (4, 2), (3, 4)):
            assert await square.lost(source, target) == 0
        await run("ip", "link", "set", square.end(at, to), "down")
        await asyncio.sleep(0.2)
        for source, target in ((1, 2), (2, 1), (1, 3), (3, 1), (4, 2), (3, 4), (4, 3)):
            assert await square.lost(source, target) == 0, (source, target)
        await run("ip", "link", "set", square.end(at, to), "up")
        await asyncio.sleep(0.2)


async def test_restarts_on_either_side(square: Square) -> None:
    await square.meet()
    before = [await square.flows(number) for number in range(1, 5)]
    pings = asyncio.create_task(square.lost(1, 3, 120, 0.05))
    await asyncio.sleep(0.3)
    await square.restart_controller()
    await square.controller.settled(hosts=4)
    assert await pings == 0
    assert [sorted(each.split("\n")) for each in before] == [
        sorted((await square.flows(number)).split("\n")) for number in range(1, 5)
    ]
    # The switch loses all that it held when it restarts, and is given it again.
    await square.ovs.stop_switch()
    await until(lambda: not square.controller.plane.switches)
    await square.ovs.start_switch()
    await until(lambda: len(square.controller.plane.switches) == 4)
    await square.controller.settled(hosts=4)
    assert await square.lost(1, 3) == 0
    assert await square.lost(2, 4) == 0


TCP = (
    "import socket\nfor port in range(2000, 2200):\n"
    " s = socket.socket(); s.settimeout(1); s.connect_ex(('10.9.0.3', port)); s.close()"
)
UDP = (
    "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
    "for port in range(2000, 2200): s.sendto(b'x', ('10.9.0.3', port))"
)


@pytest.mark.parametrize("script", [TCP, UDP], ids=["tcp", "udp"])
async def test_equal_ways_are_both_used(square: Square, script: str) -> None:
    await square.meet()

    async def sent() -> list[int]:
        out = []
        for to in (2, 4):
            text = await run("ip", "-s", "link", "show", square.end(1, to))
            out.append(int(re.findall(r"TX:.*\n\s*\d+\s+(\d+)", text)[0]))
        return out

    before = await sent()
    await run("ip", "netns", "exec", square.host(1), "python3", "-c", script)
    await asyncio.sleep(0.3)
    more = [now - then for now, then in zip(await sent(), before, strict=True)]
    assert sum(more) >= 200
    assert min(more) >= 40, more
