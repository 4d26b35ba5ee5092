"""Backups in the kernel: a link falls silent while no controller runs, and packets take the other way at once."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from instances import Instance

LAB = Path(__file__).parents[3] / "examples/labs/backups.yaml"
H3 = "10.1.1.2"
PACKETS, INTERVAL = 300, 0.01


class Ring:
    def __init__(self, weft: Instance) -> None:
        self.weft = weft
        self.prefix = f"{weft.settings.instance}-backups-"

    def inside(self, node: str, *command: str) -> str:
        argv = ["nsenter", f"--net=/run/netns/{self.prefix}{node}", *command]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def start_pings(self) -> "subprocess.Popen[str]":
        argv = ["nsenter", f"--net=/run/netns/{self.prefix}h1", "ping", "-q", "-n"]
        argv += ["-c", str(PACKETS), "-i", str(INTERVAL), "-W", "1", H3]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    def lost(self, pings: "subprocess.Popen[str]") -> int:
        output, _ = pings.communicate(timeout=60)
        found = re.search(r"(\d+) packets transmitted, (\d+) received", output)
        assert found is not None, output
        return int(found[1]) - int(found[2])

    def silence(self, node: str, interface: str) -> None:
        """Everything over an interface is lost, both ways, and its carrier stays."""
        for hook, match in (("prerouting", "iifname"), ("postrouting", "oifname")):
            chain = f"chain drop_{hook} {{ type filter hook {hook} priority -300; {match} {interface} drop; }};"
            self.inside(node, "nft", f"table inet silence {{ {chain} }}")

    def sessions(self) -> list[str]:
        items = json.loads(self.weft.kubectl("get", "routers", "-o", "json").stdout)["items"]
        return [each["state"] for item in items for each in item.get("status", {}).get("neighbors", ())]

    def link(self, name: str) -> tuple[str, str]:
        status = json.loads(self.weft.kubectl("get", "link", f"{name}.backups", "-o", "json").stdout)["status"]
        return status["state"], status.get("message", "")


def server_of(weft: Instance) -> int:
    """The process with the API and the controllers."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"weft.cli.server" in words and str(weft.root).encode() in words:
            return int(process.name)
    raise AssertionError("there is no server")


def until(what: str, probe: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < end, what
        time.sleep(0.1)


@pytest.fixture(scope="module")
def ring(instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> Ring:
    """With BFD ten times slower than the example: on a machine full of tests, 30 ms pass without anything wrong."""
    file = tmp_path_factory.mktemp("lab") / "backups.yaml"
    file.write_text(LAB.read_text().replace("interval: 10ms", "interval: 100ms"))
    instance.weft("lab", "up", str(file))
    found = Ring(instance)
    until("all BFD sessions are up", lambda: found.sessions() == ["Up"] * 12)
    return found


def test_silence_turns_packets_to_the_backup_with_nobody_in_control(ring: Ring) -> None:
    assert "via 10.254.0.1 dev r1-r2" in ring.inside("r1", "ip", "route", "get", H3)
    server = server_of(ring.weft)
    os.kill(server, signal.SIGSTOP)
    try:
        pings = ring.start_pings()
        time.sleep(0.4)
        ring.silence("r2", "r1-r2")
        assert ring.lost(pings) < PACKETS / 2
        first = ring.inside("r1", "ip", "route", "show", "10.1.1.0/24").splitlines()[0]
        assert "segs 1" in first, first  # not only the one that waits
        assert ring.lost(ring.start_pings()) == 0
    finally:
        os.kill(server, signal.SIGCONT)
    until("the link is told to be down", lambda: ring.link("r1-r2") == ("down", "the neighbor is silent (BFD)"))
    until("routes avoid it", lambda: "dev r6-r1" in ring.inside("r1", "ip", "route", "get", "10.255.0.2"))
    assert ring.lost(ring.start_pings()) == 0
    ring.inside("r2", "nft", "delete table inet silence")
    until("the link is used again", lambda: ring.link("r1-r2") == ("up", ""))
    until("the old way", lambda: "dev r1-r2" in ring.inside("r1", "ip", "route", "get", H3))
    assert ring.lost(ring.start_pings()) == 0


def test_a_link_without_carrier_turns_packets_to_the_backup(ring: Ring) -> None:
    until("the old way", lambda: "dev r1-r2" in ring.inside("r1", "ip", "route", "get", H3))
    server = server_of(ring.weft)
    os.kill(server, signal.SIGSTOP)
    try:
        pings = ring.start_pings()
        time.sleep(0.4)
        ring.inside("r2", "ip", "link", "set", "r1-r2", "down")
        assert ring.lost(pings) < PACKETS / 2
    finally:
        os.kill(server, signal.SIGCONT)
    until("the lab is repaired", lambda: ring.link("r1-r2") == ("up", ""))
    until("the old way", lambda: "dev r1-r2" in ring.inside("r1", "ip", "route", "get", H3))


def test_what_is_protected_is_told_and_all_goes_with_the_lab(ring: Ring) -> None:
    tables = json.loads(ring.weft.kubectl("get", "routetables", "-o", "json").stdout)["items"]
    told = {table["spec"]["node"]: table["status"] for table in tables}
    specs = {table["spec"]["node"]: table["spec"] for table in tables}
    for number in range(1, 7):  # routes to segments of others need backups only where others' backups go by them
        routes = [route for route in specs[f"r{number}"]["routes"] if ":" not in route["destination"]]
        assert all(route.get("backup") or len(route["nextHops"]) > 1 for route in routes)
        assert len(routes) <= told[f"r{number}"]["protected"] <= told[f"r{number}"]["routes"]
    ring.weft.weft("lab", "down")
    assert not list(Path("/run/netns").glob(f"{ring.prefix}*"))
