"""Labs on the real kernel: API server, network controller and lab agent in this process, and the commands outside.

Every claim is checked against the kernel: namespaces, routes, and packets that really arrive.
"""

import asyncio
import copy
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from weft.client.http import HttpClient
from weft.controllers.network import NetworkController
from weft.controllers.runner import Context, run_controllers
from weft.core.settings import Settings
from weft.network.routing.policy import validate_policy
from weft.network.southbound import netns
from weft.network.topology.reader import validate_topology
from weft.network.topology.resources import crds
from weft.node.lab import LabAgent
from weft.testing import leftovers
from weft.testing.apiserver import api_server

LABS = Path(__file__).parents[3] / "examples/labs"
HOSTS = {"h1": "10.1.0.2", "h2": "10.1.1.2", "h3": "10.1.2.2", "h4": "10.1.3.2"}


class World:
    """Server, controller and agent on a loop in a thread of their own; the agent can be stopped and started."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._agent: asyncio.Task[None] | None = None
        self._thread.start()
        self._server: Any = api_server(
            root,
            crds=crds(),
            extra_validators={
                ("net.weft.dev", "Topology"): validate_topology,
                ("net.weft.dev", "RoutingPolicy"): validate_policy,
            },
        )
        self.settings: Settings = self._do(self._start())

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _start(self) -> Settings:
        server = await self._server.__aenter__()
        context = Context(server.local)
        self._controllers = asyncio.create_task(run_controllers(context, [NetworkController(context)]))
        self._client = HttpClient.from_kubeconfig(server.settings.paths.node_kubeconfig)
        settings: Settings = server.settings
        self._agent = asyncio.create_task(LabAgent(settings, self._client).run())
        return settings

    def stop_agent(self) -> None:
        async def stop() -> None:
            assert self._agent is not None
            self._agent.cancel()
            await asyncio.gather(self._agent, return_exceptions=True)

        self._do(stop())

    def start_agent(self) -> None:
        async def start() -> None:
            self._agent = asyncio.create_task(LabAgent(self.settings, self._client).run())

        self._do(start())

    def close(self) -> None:
        async def close() -> None:
            self._controllers.cancel()
            await asyncio.gather(self._controllers, return_exceptions=True)
            await self._client.close()
            await self._server.__aexit__(None, None, None)

        self.stop_agent()
        self._do(close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def lab(self, *arguments: str, code: int = 0) -> str:
        """`weft lab ...`; the output of both streams."""
        command = [sys.executable, "-m", "weft.cli.main", "--root", str(self.root), "lab", *arguments]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=90, check=False
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def kubectl(self, *arguments: str, stdin: str | None = None, code: int = 0) -> str:
        command = ["kubectl", f"--kubeconfig={self.settings.paths.kubeconfig}", f"--cache-dir={self.root}/cache"]
        done = subprocess.run(
            [*command, *arguments],
            input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=90, check=False,
            env={**os.environ, "HOME": str(self.root)},
        )  # fmt: skip
        assert done.returncode == code, done.stdout
        return done.stdout

    def way(self, a: str, b: str, lab: str) -> list[str]:
        """The nodes that packets pass; also where they do not arrive."""
        command = [sys.executable, "-m", "weft.cli.main", "--root", str(self.root), "lab", "trace", a, b, "--lab", lab]
        return way(subprocess.run(command, capture_output=True, text=True, timeout=90, check=False).stdout)

    def namespaces(self) -> set[str]:
        prefix = f"{self.settings.instance}-"
        return {path.name.removeprefix(prefix) for path in Path("/run/netns").glob(f"{prefix}*")}

    def inside(self, node: str, *command: str, lab: str = "ring") -> subprocess.CompletedProcess[str]:
        path = f"/run/netns/{self.settings.instance}-{lab}-{node}"
        return subprocess.run(
            ["nsenter", f"--net={path}", *command], capture_output=True, text=True, timeout=60, check=False
        )

    def kernel_routes(self, node: str, lab: str = "ring") -> dict[str, Any]:
        shown = self.inside(node, "ip", "-j", "route", "show", lab=lab)
        return {route["dst"]: route for route in json.loads(shown.stdout)}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    root = Path(tempfile.mkdtemp(prefix="weft-h-", dir="/tmp"))
    before = leftovers.snapshot(root / "run/weft")
    world = World(root)
    try:
        yield world
        for line in json.loads(world.kubectl("get", "topologies", "-A", "-o", "json"))["items"]:
            world.lab("down", line["metadata"]["name"])
    finally:
        instance = world.settings.instance
        world.close()
        left = leftovers.new(before, leftovers.snapshot(root / "run/weft"), only=(f"{instance}-",))
        for name in world.namespaces():  # of a test that failed
            netns.delete(Path(f"/run/netns/{instance}-{name}"))
        shutil.rmtree(root)
    assert not left, "left behind:\n" + "\n".join(left)


@pytest.fixture
def ring(world: World) -> World:
    """The ring, as its file says."""
    world.lab("up", str(LABS / "ring.yaml"))
    return world


def until(what: str, probe: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def ring_file(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> str:
    """A changed copy of the ring."""
    obj = yaml.safe_load((LABS / "ring.yaml").read_text())
    change(obj["spec"])
    file = tmp_path / "ring.yaml"
    file.write_text(yaml.safe_dump(obj))
    return str(file)


def way(output: str) -> list[str]:
    """The nodes of a trace."""
    return [line.split()[1] for line in output.splitlines()[1:]]


def test_every_host_reaches_every_other(ring: World) -> None:
    pairs = list(itertools.permutations(HOSTS, 2))
    running = {
        (a, b): subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{ring.settings.instance}-ring-{a}", "ping", "-c1", "-W5", HOSTS[b]],
            stdout=subprocess.DEVNULL,
        )
        for a, b in pairs
    }
    failed = [pair for pair, process in running.items() if process.wait() != 0]
    assert not failed
    assert " 0% packet loss" in ring.lab("ping", "h1", "h3", "-c", "2")


def test_traffic_moves_when_a_link_is_cut_and_back_when_it_is_restored(ring: World) -> None:
    assert way(ring.lab("trace", "h1", "h3")) == ["r1", "r2", "r3", "h3"]
    assert "route tables changed" in ring.lab("cut", "r2-r1")
    assert way(ring.lab("trace", "h1", "h3")) == ["r1", "r6", "r3", "h3"]
    assert ring.lab("path", "h1", "h3") == "h1 r1 r6 r3 h3  cost 32\n"
    assert " 0% packet loss" in ring.lab("ping", "h1", "h3", "-c", "2")
    assert "10.254.0.0/31" not in ring.kernel_routes("r1")
    assert "cut" in ring.lab("status")
    assert "already" in ring.lab("cut", "r1-r2")
    ring.lab("restore", "r1-r2")
    assert way(ring.lab("trace", "h1", "h3")) == ["r1", "r2", "r3", "h3"]


def test_a_cut_loses_few_packets(ring: World) -> None:
    """By kubectl, as anyone may: the API is all that it takes."""
    command = ["nsenter", f"--net=/run/netns/{ring.settings.instance}-ring-h1", "ping", "-D", "-n", "-i", "0.005"]
    ping = subprocess.Popen([*command, "-c", "600", HOSTS["h3"]], stdout=subprocess.PIPE, text=True)
    ring.kubectl("patch", "link", "r1-r2.ring", "--type=merge", "-p", '{"spec":{"state":"down"}}')
    output = ping.communicate(timeout=60)[0]
    times = [float(stamp) for stamp in re.findall(r"\[([\d.]+)\] 64 bytes", output)]
    outage = max(b - a for a, b in itertools.pairwise(times))
    assert ring.lab("path", "h1", "h3").startswith("h1 r1 r6")
    assert len(times) > 500, output
    assert outage < 0.5, f"{outage:.3f} s without an answer"  # about 0.04 s on an idle machine


def test_no_way_left_is_said_so(ring: World) -> None:
    ring.lab("cut", "h3-r3")
    assert "there is no way from h1 to h3" in ring.lab("path", "h1", "h3", code=1)
    assert "h3 was not reached" in ring.lab("trace", "h1", "h3", code=1)
    ring.lab("ping", "h1", "h3", "-c", "1", code=1)


def test_equal_paths_are_multipath_routes_of_the_kernel(ring: World) -> None:
    route = ring.kernel_routes("r2")["10.1.3.0/24"]
    assert {hop["dev"] for hop in route["nexthops"]} == {"r1-r2", "r2-r3"}
    assert len(ring.lab("path", "h2", "h4").splitlines()) == 2


def test_capacity_is_enforced_where_the_kernel_can(ring: World) -> None:
    shown = ring.inside("r3", "tc", "qdisc", "show", "dev", "r3-r6").stdout
    link = json.loads(ring.kubectl("get", "link", "r3-r6.ring", "-o", "json"))
    if "capacity" in link["status"]["message"]:
        assert "tbf" not in shown
    else:
        assert "tbf" in shown
        assert "rate 100Mbit" in shown


def test_the_network_is_resources(ring: World) -> None:
    text = ring.kubectl("get", "routers,hosts,links,routetables,topologies", "-o", "wide")
    assert re.search(r"router.net.weft.dev/r1.ring +ring +10.255.0.1/32 +spf +\S* *Ready", text)
    assert re.search(r"link.net.weft.dev/r3-r6.ring +ring +r3 +r6 +100Mbit +20 +up +up", text)
    assert re.search(r"topology.net.weft.dev/ring +Ready +6 +0 +4 +11/11", text)
    assert "false" not in text


def test_a_restarted_agent_repairs_what_was_broken_meanwhile(ring: World) -> None:
    def reaches() -> bool:
        return ring.inside("h1", "ping", "-c1", "-W1", HOSTS["h2"]).returncode == 0

    ring.stop_agent()
    try:
        subprocess.run(["ip", "netns", "delete", f"{ring.settings.instance}-ring-r2"], check=True)
        ring.inside("r1", "ip", "route", "del", "10.1.2.0/24")
        ring.inside("r3", "ip", "link", "set", "r3-r4", "down")
        until("the end of r2", lambda: not reaches())
    finally:
        ring.start_agent()
    until("repair", reaches)
    until("routes", lambda: "10.1.2.0/24" in ring.kernel_routes("r1") and "10.1.3.0/24" in ring.kernel_routes("r3"))
    assert way(ring.lab("trace", "h1", "h3")) == ["r1", "r2", "r3", "h3"]


def test_an_object_deleted_by_hand_comes_back(ring: World) -> None:
    names = ("router/r4.ring", "link/r4-r5.ring", "routetable/r5.ring")

    def uids() -> list[str]:
        return [ring.kubectl("get", name, "-o", "jsonpath={.metadata.uid}", "--ignore-not-found") for name in names]

    before = uids()
    ring.kubectl("delete", "--wait=false", *names)
    until("all three anew", lambda: all(new and new != old for new, old in zip(uids(), before, strict=True)))
    ring.lab("up", str(LABS / "ring.yaml"))
    assert ring.inside("r4", "ping", "-c1", "-W2", HOSTS["h4"]).returncode == 0
    assert "10.1.0.0/24" in ring.kernel_routes("r5")


def test_a_changed_file_changes_the_lab_and_only_that(ring: World, tmp_path: Path) -> None:
    untouched = Path(f"/run/netns/{ring.settings.instance}-ring-r1").stat().st_ino

    def change(spec: dict[str, Any]) -> None:
        spec["hosts"] = [host for host in spec["hosts"] if host["name"] != "h4"] + [{"name": "h5"}]
        spec["links"] = [link for link in spec["links"] if "h4" not in link["endpoints"]]
        spec["links"] += [{"endpoints": ["h5", "r4"]}, {"name": "second", "endpoints": ["r1", "r2"], "cost": 10}]

    ring.lab("up", ring_file(tmp_path, change))
    assert {name for name in ring.namespaces() if name.startswith("ring-h")} == {
        "ring-h1",
        "ring-h2",
        "ring-h3",
        "ring-h5",
    }
    assert " 0% packet loss" in ring.lab("ping", "h1", "h5")
    assert len(ring.kernel_routes("r1")["10.1.2.0/24"]["nexthops"]) == 2
    assert Path(f"/run/netns/{ring.settings.instance}-ring-r1").stat().st_ino == untouched


def test_labs_beside_each_other_do_not_touch(ring: World) -> None:
    ring.lab("up", str(LABS / "switched.yaml"))
    assert "several labs are up (ring, switched): say which with --lab NAME" in ring.lab("ping", "h1", "h3", code=1)
    for a, b in itertools.permutations(["ann", "bob", "cleo", "dan"], 2):
        target = {"ann": "192.168.7.10", "bob": "192.168.7.11", "cleo": "10.1.0.2", "dan": "10.1.0.3"}[b]
        assert ring.inside(a, "ping", "-c1", "-W5", target, lab="switched").returncode == 0, (a, b)
    # Within a segment no router is on the way.
    assert way(ring.lab("trace", "ann", "bob", "--lab", "switched")) == ["bob"]
    assert way(ring.lab("trace", "ann", "dan", "--lab", "switched")) == ["left", "right", "dan"]
    ring.lab("down", "switched")
    assert {name.partition("-")[0] for name in ring.namespaces()} == {"ring"}
    assert " 0% packet loss" in ring.lab("ping", "h1", "h3")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"endpoints": ["r1", "r9"]},
            'spec.links[11].endpoints[1]: Invalid value: "r9": no such router, switch or host',
        ),
        ({"endpoints": ["r1", "r1"]}, "a link must join two different nodes"),
        ({"endpoints": ["r1", "r2"]}, 'spec.links[11].name: Duplicate value: "r1-r2"'),
        ({"endpoints": ["r1", "r4"], "capacity": "much"}, 'spec.links[11].capacity: Invalid value: "much"'),
    ],
)
def test_a_bad_lab_is_refused_by_command_and_server_alike(
    ring: World, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    file = ring_file(tmp_path, lambda spec: spec["links"].append(change))
    said = ring.lab("up", file, code=1)
    assert said.startswith(f"weft: {file}: spec.links[11]")
    assert message in said
    assert said.count("\n") == 1
    refused = ring.kubectl("apply", "-f", file, code=1)
    assert 'The Topology "ring" is invalid' in refused
    assert message in refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not YAML"),
        ("kind: Pod\napiVersion: v1\n", "must be of apiVersion net.weft.dev/v1 and kind Topology"),
        ("", "must hold one Topology"),
        (
            "{apiVersion: net.weft.dev/v1, kind: Topology, metadata: {name: x}, spec: {hosts: [{name: a, color: 1}]}}",
            "color",
        ),
    ],
)
def test_a_file_that_is_no_lab_is_refused(world: World, tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(text)
    said = world.lab("up", str(file), code=1)
    assert said.startswith(f"weft: {file}: ")
    assert message in said
    assert said.count("\n") == 1


def test_wrong_names_are_told_with_the_right_ones(ring: World) -> None:
    assert "there is no node h9 in lab ring: there are r1, " in ring.lab("ping", "h1", "h9", code=1)
    assert "there is no node h9 in lab ring: there are r1, " in ring.lab("trace", "h9", "h1", code=1)
    assert "there is no link r1-r9 in lab ring: there are r1-r2, " in ring.lab("cut", "r1-r9", code=1)
    assert "there is no lab x" in ring.lab("down", "x", code=1)
    missing = str(LABS / "none.yaml")
    assert f"cannot read {missing}: No such file or directory" in ring.lab("up", missing, code=1)


def test_a_lab_with_another_name_and_long_names(world: World, tmp_path: Path) -> None:
    names = [f"the-{side}-router-of-a-long-name" for side in ("left", "right")]
    obj = {
        "apiVersion": "net.weft.dev/v1",
        "kind": "Topology",
        "metadata": {"name": "ring-of-two"},
        "spec": {
            "routers": [{"name": name} for name in names],
            "links": [{"endpoints": names}, {"name": "lo", "endpoints": names}],
        },
    }
    file = tmp_path / "two.yaml"
    file.write_text(yaml.safe_dump(copy.deepcopy(obj)))
    world.lab("up", str(file))
    assert " 0% packet loss" in world.lab("ping", *names, "--lab", "ring-of-two")
    world.lab("down", "ring-of-two")
    assert not {name for name in world.namespaces() if "two" in name}


def test_abilene(world: World) -> None:
    world.lab("up", str(LABS / "abilene.yaml"))
    ends = ["user-seattle", "user-atlanta", "--lab", "abilene"]
    assert way(world.lab("trace", *ends)) == ["seattle", "denver", "kansas", "indianapolis", "atlanta", "user-atlanta"]
    world.lab("cut", "denver-kansas", "--lab", "abilene")
    assert way(world.lab("trace", *ends)) == [
        "seattle",
        "sunnyvale",
        "losangeles",
        "houston",
        "atlanta",
        "user-atlanta",
    ]
    world.lab("down", "abilene")


def test_down_leaves_nothing(ring: World) -> None:
    assert ring.namespaces()
    assert "lab ring is down" in ring.lab("down", "ring")
    assert not ring.namespaces()
    assert "No resources found" in ring.kubectl("get", "routers,hosts,links,routetables,topologies")
    assert "no lab is up" in ring.lab("status")
    assert "no lab is up" in ring.lab("down", code=1)


def test_deleting_the_resource_is_as_good_as_the_command(ring: World) -> None:
    ring.kubectl("delete", "topology", "ring", "--timeout=30s")
    assert not ring.namespaces()


def states(world: World, router: str) -> list[str]:
    status = json.loads(world.kubectl("get", "router", router, "-o", "json")).get("status", {})
    return [each["state"] for each in status.get("neighbors", [])]


def is_routing_daemon(process: Path, parent: int) -> bool:
    try:
        mine = int((process / "stat").read_text().rpartition(")")[2].split()[1]) == parent
        return mine and b"weft.network.routing.daemon" in (process / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_ospf_with_areas_finds_the_ways_and_tells_of_its_neighbors(world: World) -> None:
    world.lab("up", str(LABS / "ospf-areas.yaml"))
    until("adjacencies in the status", lambda: states(world, "r2.ospf-areas") == ["Full"] * 3)
    until("routes in r5", lambda: "default" in world.kernel_routes("r5", "ospf_areas"))
    until("the route that r1 redistributes", lambda: "192.0.2.0/24" in world.kernel_routes("r4", "ospf_areas"))
    assert world.kernel_routes("r4", "ospf_areas")["192.0.2.0/24"]["protocol"] == "ospf"
    assert "192.0.2.0/24" not in world.kernel_routes("r5", "ospf_areas"), "a stub area has none of these"
    until(
        "h1 reaches h5", lambda: world.inside("h1", "ping", "-c1", "-W1", "10.1.1.2", lab="ospf_areas").returncode == 0
    )
    assert world.way("h1", "h5", "ospf-areas") == ["r1", "r2", "r3", "r4", "r5", "h5"]
    assert world.lab("path", "h1", "h5", "--lab", "ospf-areas").startswith("h1 r1 r2 r3 r4 r5 h5  cost ")
    said = world.lab("cut", "r2-r3", "--lab", "ospf-areas")
    assert re.search(r"link r2-r3 is cut; the routes of [2-5] routers are others, the last after \d+ ms; nothing", said)
    assert world.lab("path", "h1", "h5", "--lab", "ospf-areas").startswith("h1 r1 r2 r4 r5 h5  cost ")
    until("the way over r2-r4", lambda: world.way("h1", "h5", "ospf-areas") == ["r1", "r2", "r4", "r5", "h5"])
    [process] = [
        int(each.name)
        for each in Path("/proc").iterdir()
        if each.name.isdigit() and is_routing_daemon(each, os.getpid())
    ]
    os.kill(process, signal.SIGKILL)
    assert world.inside("h1", "ping", "-c1", "-W1", "10.1.1.2", lab="ospf_areas").returncode == 0, "routes stay"
    until("no adjacency is left in the status", lambda: states(world, "r2.ospf-areas") != ["Full"] * 2)
    until("a new process has its adjacencies", lambda: states(world, "r2.ospf-areas") == ["Full"] * 2)
    world.stop_agent()
    assert world.inside("h1", "ping", "-c1", "-W1", "10.1.1.2", lab="ospf_areas").returncode == 0, "routes stay"
    world.start_agent()
    until("adjacencies again", lambda: states(world, "r2.ospf-areas") == ["Full"] * 2)
    assert world.inside("h1", "ping", "-c1", "-W1", "10.1.1.2", lab="ospf_areas").returncode == 0
    world.lab("down", "ospf-areas")


def test_a_ring_by_distance_vector(world: World, tmp_path: Path) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["routing"] = {"protocol": "rip", "rip": {"updateInterval": 2, "timeoutInterval": 6, "garbageInterval": 4}}

    world.lab("up", ring_file(tmp_path, change))
    until("neighbours in the status", lambda: states(world, "r1.ring") == ["Up"] * 2)
    until("h1 reaches h3", lambda: world.inside("h1", "ping", "-c1", "-W1", HOSTS["h3"]).returncode == 0)
    assert world.kernel_routes("r1")["10.1.2.0/24"]["protocol"] == "rip"
    world.lab("cut", "r1-r2")
    until("the way round", lambda: world.way("h1", "h3", "ring") == ["r1", "r6", "r3", "h3"])
    world.lab("down", "ring")


def test_routers_of_three_makes_in_one_ring(world: World) -> None:
    world.lab("up", str(LABS / "mixed.yaml"))
    until("w1 is adjacent to FRR and to w4", lambda: states(world, "w1.mixed") == ["Full", "Full"], 40)
    until("w4 is adjacent to BIRD and to w1", lambda: states(world, "w4.mixed") == ["Full", "Full"], 40)
    for theirs in ("f2.mixed", "b3.mixed"):
        until(f"{theirs} says so too", lambda name=theirs: states(world, name) == ["Full", "Full"], 40)
    until("all tell of routes", lambda: re.search(r"b3 .* 2 of 2 neighbors up, [4-9] routes", world.lab("status")))
    until(
        "h1 reaches h3", lambda: world.inside("h1", "ping", "-c1", "-W1", "10.1.1.2", lab="mixed").returncode == 0, 40
    )
    until("the way over FRR", lambda: world.way("h1", "h3", "mixed") == ["w1", "f2", "b3", "h3"])
    world.lab("cut", "f2-b3", "--lab", "mixed")
    until("the other way", lambda: world.way("h1", "h3", "mixed") == ["w1", "w4", "b3", "h3"])
    world.lab("down", "mixed")
    assert not list(Path("/run/frr").glob("weft-*"))


def test_watch_tells_of_a_link_that_flaps(ring: World) -> None:
    command = [sys.executable, "-m", "weft.cli.main", "--root", str(ring.root), "lab", "watch", "--lab", "ring"]
    watching = subprocess.Popen(
        [*command, "--seconds", "30"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert watching.stderr is not None
        assert "watching lab ring" in watching.stderr.readline()
        assert ring.lab("flap", "r1-r2", "--lab", "ring", "--count", "1", "--period", "0.3") == (
            "link r1-r2 went down and up 1 times\n"
        )
        assert watching.stdout is not None
        lines: list[str] = []
        while not any("link r1-r2: down -> up" in line for line in lines):
            lines.append(watching.stdout.readline())
            assert lines[-1], "the watch ended before the link was up again"
    finally:
        watching.terminate()
        watching.communicate(timeout=10)
    assert any("link r1-r2: up -> down" in line for line in lines)
    assert any("router r1: new routes from the controller" in line for line in lines)


def test_a_fat_tree_uses_all_paths_of_one_length(world: World) -> None:
    world.lab("up", str(LABS / "fattree.yaml"))
    h16 = "10.1.15.2"

    def ways() -> int:
        shown = world.inside("edge1-1", "ip", "-j", "route", "get", "fibmatch", h16, lab="fattree").stdout
        routes = json.loads(shown or "[]")
        return len(routes[0].get("nexthops", routes)) if routes else 0

    def reached() -> bool:
        return world.inside("h1", "ping", "-c1", "-W1", h16, lab="fattree").returncode == 0

    until("two ways up from the edge", lambda: ways() == 2)
    until("h1 reaches h16", reached)
    world.lab("cut", "agg1-1-edge1-1", "--lab", "fattree")
    until("one way is left", lambda: ways() == 1)
    until("h1 reaches h16 by the other", reached)
    world.lab("down", "fattree")
