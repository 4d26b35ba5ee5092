"""The OpenFlow fabric of examples/labs in a whole Weft: hosts meet, links fail, Weft is killed, and nothing is left."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from instances import Instance
from test_labs import LABS

HOSTS = {"ann": 1, "bob": 2, "cleo": 3, "dan": 4, "eve": 5}


class Fabric:
    def __init__(self, weft: Instance) -> None:
        self.weft = weft
        self.prefix = f"{weft.settings.instance}-fabric-"

    def inside(self, node: str, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.prefix}{node}", *command],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def ping(self, source: str, target: str, count: int = 3, interval: float = 0.1) -> subprocess.Popen[str]:
        options = ("-n", "-q", "-W", "2", "-c", str(count), "-i", str(interval))
        return self.inside(source, "ping", *options, f"10.1.0.{HOSTS[target]}")

    def status(self) -> dict[str, Any]:
        items = json.loads(self.weft.kubectl("get", "switches", "-o", "json").stdout)["items"]
        return {item["spec"]["node"]: item["status"] for item in items}

    def pids(self) -> set[int]:
        """Of its Open vSwitch."""
        return {int(file.read_text() or 0) for file in self.weft.settings.paths.run.glob("openflow/*/*.pid")}

    def flows(self, switch: str) -> dict[str, float]:
        """Match and actions of the flows, and the seconds that each has been there."""
        [socket] = self.weft.settings.paths.run.glob(f"openflow/*/br-{switch}.mgmt")
        command = ("ovs-ofctl", "-O", "OpenFlow13", "dump-flows", f"unix:{socket}")
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = re.findall(r"duration=([\d.]+)s,.*? (priority=.*)", text)
        assert found, text
        return {flow: float(age) for age, flow in found}

    def hosts(self, switch: str) -> set[str]:
        """The addresses that it has flows to."""
        return {found[0] for flow in self.flows(switch) if (found := re.findall("dl_dst=([0-9a-f:]+)", flow))}

    def meet(self) -> None:
        for source, target in permutations(HOSTS, 2):
            assert self.reaches(source, target), (source, target)

    def reaches(self, source: str, target: str) -> bool:
        return lost(self.ping(source, target, 1)) == 0

    def set_port(self, port: str, state: str) -> None:
        done = self.inside("fabric_0", "ip", "link", "set", port, state)
        assert not done.communicate()[0]


def until(what: str, probe: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)


def lost(ping: subprocess.Popen[str]) -> int:
    text = ping.communicate(timeout=60)[0]
    found = re.search(r"(\d+) packets transmitted, (\d+) received", text)
    assert found, text
    return int(found[1]) - int(found[2])


@pytest.fixture(scope="module")
def fabric(instance: Instance) -> Fabric:
    instance.weft("lab", "up", str(LABS / "openflow-fabric.yaml"))
    it = Fabric(instance)
    it.meet()
    return it


def test_switches_tell_of_themselves_and_links_may_be_cut(fabric: Fabric) -> None:
    until("flows", lambda: all(each.get("groups") for each in fabric.status().values()))
    told = fabric.status()
    assert len({each["datapath"] for each in told.values()}) == 6
    for name, each in told.items():
        assert each["phase"] == "Ready"
        assert each["connected"]
        assert each["flows"] == len(fabric.flows(name))
        assert sorted(port["number"] for port in each["ports"]) == list(range(1, len(each["ports"]) + 1))
        assert {port["state"] for port in each["ports"]} == {"up"}
    assert "link spine1-leaf1 is cut" in fabric.weft.weft("lab", "cut", "leaf1-spine1").stdout
    assert lost(fabric.ping("ann", "dan", 10)) == 0
    ports = {port["link"]: port["state"] for port in fabric.status()["leaf1"]["ports"]}
    assert ports == {"ann-leaf1": "up", "spine1-leaf1": "down", "spine2-leaf1": "up"}
    fabric.weft.weft("lab", "restore", "spine1-leaf1")
    until("the link again", lambda: {each["phase"] for each in fabric.status().values()} == {"Ready"})
    assert fabric.weft.weft("lab", "path", "ann", "dan").stdout == "ann dan  cost 1\n"


def test_streams_of_tcp_pass(fabric: Fabric) -> None:
    """A switch in user space finishes no checksums."""
    receive = (
        "import socket\ns = socket.create_server(('', 7000))\nprint('ready', flush=True)\nc = s.accept()[0]\n"
        "n = 0\nwhile d := c.recv(65536): n += len(d)\nprint(n)"
    )
    send = "import socket\nc = socket.create_connection(('10.1.0.4', 7000), 10)\nc.sendall(bytes(1 << 20))"
    receiver = fabric.inside("dan", "python3", "-c", receive)
    assert receiver.stdout is not None
    assert receiver.stdout.readline() == "ready\n"
    sender = fabric.inside("ann", "python3", "-c", send)
    assert not sender.communicate(timeout=20)[0]
    assert receiver.communicate(timeout=20)[0] == f"{1 << 20}\n"


def test_the_switches_live_on_while_weft_is_dead(fabric: Fabric) -> None:
    until("all ways to all hosts", lambda: all(len(fabric.hosts(name)) == 5 for name in fabric.status()))
    [port] = [each["interface"] for each in fabric.status()["spine1"]["ports"] if each["link"] == "spine1-leaf4"]
    before, pids = fabric.flows("leaf1"), fabric.pids()
    state = json.loads((fabric.weft.settings.paths.run / "weft.json").read_text())
    for name in ("supervisor", "node", "server"):
        os.kill(state[name], signal.SIGKILL)
    pings = [fabric.ping(source, target, 60, 0.05) for source, target in permutations(["ann", "bob", "dan"], 2)]
    time.sleep(0.5)
    fabric.set_port(port, "down")
    assert sum(lost(ping) for ping in pings) <= 6 * 2  # what is on its way in that moment
    again = [fabric.ping(source, target, 10) for source, target in permutations(HOSTS, 2)]
    assert sum(lost(ping) for ping in again) == 0
    fabric.set_port(port, "up")
    steady = fabric.ping("ann", "dan", 100, 0.1)
    fabric.weft.up()
    until("all switches", lambda: {each["phase"] for each in fabric.status().values()} == {"Ready"})
    assert lost(steady) == 0
    after = fabric.flows("leaf1")
    assert fabric.pids() == pids
    assert after.keys() == before.keys()
    assert all(after[flow] > age for flow, age in before.items()), "they are the same flows, not new ones"


def test_what_is_broken_by_hand_is_repaired(fabric: Fabric) -> None:
    """The switch is killed, and its namespace is taken away with it: the agent starts it in a new one."""
    pids = fabric.pids()
    for file in fabric.weft.settings.paths.run.glob("openflow/*/ovs-vswitchd.pid"):
        os.kill(int(file.read_text()), signal.SIGKILL)
    until("a new process", lambda: fabric.pids() != pids)
    until("its switches", lambda: {each["phase"] for each in fabric.status().values()} == {"Ready"})
    until("packets", lambda: fabric.reaches("ann", "eve"))
    subprocess.run(["ip", "netns", "delete", f"{fabric.prefix}fabric_0"], check=True)
    until("packets again", lambda: fabric.reaches("ann", "eve"))


def test_nothing_is_left(fabric: Fabric) -> None:
    instance, run = fabric.weft, fabric.weft.settings.paths.run
    instance.weft("lab", "down", "fabric")
    assert not list(Path("/run/netns").glob(f"{instance.settings.instance}-fabric-*"))
    assert not list(run.glob("openflow/*"))
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(run / "openflow") not in processes
