"""Machines unlike this one, each a network namespace: with a firewall that drops what is forwarded (as Docker's does),
and without any link to elsewhere."""

import subprocess
import sys
from pathlib import Path

import pytest

START = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
import podnet
from podnet import ask, new_settings, running, shell
from weft.network.cluster.ruleset import ServicePort
from weft.network.cluster.services import ServiceTable
podnet.SECONDS = 3.0
"""

FIREWALL = """
DROP = "table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }"

async def main():
    await shell("ip", "link", "set", "lo", "up")
    await shell("nft", DROP)
    before = await shell("nft", "list", "ruleset")
    async with running() as network:
        a, b = await network.pod("a"), await network.pod("b")
        await network.serve(a, 80, "a")
        assert await ask(b, a.address, 80) == ("a", b.address)
        await network.reopen()
        assert (await shell("nft", "list", "chain", "ip", "filter", "FORWARD")).count("accept") == 2
        await shell("nft", "flush", "chain", "ip", "filter", "FORWARD")
        try:
            await ask(b, a.address, 80)
        except TimeoutError:
            pass
        else:
            sys.exit("the firewall lets all through: this test shows nothing")
        await network.reopen()
        assert await ask(b, a.address, 80) == ("a", b.address)
    assert await shell("nft", "list", "ruleset") == before

asyncio.run(main())
"""

OFFLINE = """
from pathlib import Path

FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
BRIDGE_ASKS = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")  # br_netfilter, where the kernel has it

async def main():
    await shell("ip", "link", "set", "lo", "up")
    FORWARD.write_text("0")
    if BRIDGE_ASKS.exists():
        BRIDGE_ASKS.write_text(sys.argv[2])
    async with running() as network:
        a, b = await network.pod("a"), await network.pod("b")
        await network.serve(a, 80, "a")
        address = network.settings.service_subnet.replace(".0.0/16", ".3.3")
        table = ServiceTable(network.settings, network.sandboxes.nftables)
        await table.apply([ServicePort("default", "web", "", address, "tcp", 80, 31000, ((a.address, 80),))])
        for where in (None, a, b):
            assert (await ask(where, address, 80))[0] == "a"
        assert await ask(a, address, 80) == ("a", a.gateway)
        assert await ask(b, address, 80) == ("a", b.address)
        assert (await ask(None, "127.0.0.1", 31000))[0] == "a"
        assert FORWARD.read_text().strip() == "1"
    assert FORWARD.read_text().strip() == "0"

asyncio.run(main())
"""


HOST = """
import shutil
from pathlib import Path
from weft.network.cluster import host

async def main():
    forward = Path("/proc/sys/net/ipv4/ip_forward")
    for before in ("0", "1"):
        forward.write_text(before)
        settings = [new_settings() for _ in range(8)]
        for _ in range(20):
            await asyncio.gather(*(asyncio.to_thread(host.enable_forwarding, each) for each in settings))
            assert forward.read_text().strip() == "1"
            first, *rest = settings
            await asyncio.gather(*(asyncio.to_thread(host.restore_forwarding, each) for each in rest))
            assert forward.read_text().strip() == "1"  # one still needs it
            await asyncio.gather(
                asyncio.to_thread(host.restore_forwarding, first),
                *(asyncio.to_thread(host.enable_forwarding, each) for each in rest),
            )
            assert forward.read_text().strip() == "1"
            await asyncio.gather(*(asyncio.to_thread(host.restore_forwarding, each) for each in rest))
            assert forward.read_text().strip() == before
            assert not Path("/run/weft-forwarding").exists()
        for each in settings:
            shutil.rmtree(each.paths.root)

asyncio.run(main())
"""

CASES = {
    "firewall": (FIREWALL, "1"),
    "offline": (OFFLINE, "1"),
    "offline-no-br-netfilter": (OFFLINE, "0"),
    "forwarding": (HOST, "1"),
}


@pytest.mark.parametrize(("script", "bridge_asks"), CASES.values(), ids=CASES)
def test_on_another_machine(script: str, bridge_asks: str) -> None:
    command = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c"]
    command += ['mount -t tmpfs none /run && exec "$0" "$@"', sys.executable, "-c", START + script]
    done = subprocess.run(
        [*command, str(Path(__file__).parent), bridge_asks], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
