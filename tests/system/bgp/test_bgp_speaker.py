"""The BGP speaker beside FRR's bgpd as the router of a rack: it learns addresses of services, and loses them."""

import asyncio
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from weft.api.gvr import ENDPOINTSLICES, SERVICES
from weft.client.http import HttpClient
from weft.network.routing.bgp import validate_advertisement, validate_peer
from weft.network.routing.peers import Frr
from weft.network.topology.resources import BGP_ADVERTISEMENTS, BGP_PEERS, crds
from weft.node.bgp import BgpSpeaker
from weft.testing.apiserver import api_server

ADDRESS = "203.0.113.7"
SLICE = {
    "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
    "addressType": "IPv4",
    "ports": [{"port": 80}],
}


class Nobody:
    """There is no table of services here."""

    async def announce(self, addresses: frozenset[str]) -> None:
        pass


class Rack:
    """A namespace with bgpd, a link to it, an API server, and the speaker on a loop in a thread."""

    def __init__(self, root: Path) -> None:
        number = os.getpid() % 200
        self.namespace, self.device = f"bgp{os.getpid()}", f"bgp{os.getpid() % 10**7}"
        self.router, self.node = IPv4Address(f"10.254.{number}.1"), IPv4Address(f"10.254.{number}.2")
        self.root = root
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        for command in (
            f"ip netns add {self.namespace}",
            f"ip link add {self.device} type veth peer name eth0 netns {self.namespace}",
            f"ip addr add {self.node}/30 dev {self.device}",
            f"ip link set {self.device} up",
            f"ip -n {self.namespace} addr add {self.router}/30 dev eth0",
            f"ip -n {self.namespace} link set eth0 up",
            f"ip -n {self.namespace} link set lo up",
        ):
            assert os.system(command) == 0, command
        self.frr = self._bgpd()
        groups = {"BGPPeer": validate_peer, "BGPAdvertisement": validate_advertisement}
        validators = self.validators = {("net.weft.dev", kind): check for kind, check in groups.items()}
        self._server: Any = api_server(root, crds=crds(), extra_validators=validators)
        self.do(self._start())

    def _bgpd(self) -> Frr:
        text = "\n".join([
            "router bgp 64513", f" bgp router-id {self.router}", " no bgp ebgp-requires-policy",
            f" neighbor {self.node} remote-as 64512", f" neighbor {self.node} timers connect 1", "exit", "",
        ])  # fmt: skip
        daemon = Frr(Path("/run/netns") / self.namespace, self.root / "frr", self.namespace,
                     {"zebra": "hostname tor\n", "bgpd": text})  # fmt: skip
        daemon.start()
        return daemon

    async def _start(self) -> None:
        server = await self._server.__aenter__()
        self.client = HttpClient.from_kubeconfig(server.settings.paths.node_kubeconfig)
        self.admin = HttpClient.from_kubeconfig(server.settings.paths.kubeconfig)
        self._speaker = asyncio.create_task(BgpSpeaker(server.settings, self.client, Nobody()).run())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def until(self, what: str, probe: Callable[[], object], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not probe():
            if time.monotonic() > deadline:
                pytest.fail(f"waited in vain for {what}: {self.frr.ask('show ip bgp')} {self.sessions()}")
            time.sleep(0.1)

    def learned(self) -> dict[str, Any]:
        """What the router would forward by BGP."""
        routes = json.loads(self.frr.ask("show ip route bgp json"))
        return {prefix: [hop.get("ip") for hop in found[0]["nexthops"]] for prefix, found in routes.items()}

    def sessions(self) -> list[dict[str, Any]]:
        return [
            each
            for obj in self.do(self.admin.list(BGP_PEERS)).items
            for each in (obj.get("status") or {}).get("sessions", [])
        ]

    def set_ready(self, ready: bool) -> None:
        conditions = {"addresses": ["10.88.0.2"], "conditions": {"ready": ready}, "nodeName": "weft"}
        self.do(self.admin.patch(ENDPOINTSLICES, "web-1", {"endpoints": [conditions]},
                                 "application/merge-patch+json", "default"))  # fmt: skip

    def processes(self) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            try:
                command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            except OSError:
                continue
            if str(self.root).encode() in command and b"exabgp.conf" in command:
                found.append(int(entry.name))
        return found

    def stop_speaker(self) -> None:
        async def stop() -> None:
            self._speaker.cancel()
            await asyncio.gather(self._speaker, return_exceptions=True)

        self.do(stop())

    def close(self) -> None:
        async def stop() -> None:
            await self.client.close()
            await self.admin.close()
            await self._server.__aexit__(None, None, None)

        self.stop_speaker()
        self.do(stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def clean(self) -> None:
        self.frr.kill()
        os.system(f"ip link del {self.device}; ip netns del {self.namespace}")


@pytest.fixture
def rack() -> Iterator[Rack]:
    root = Path(tempfile.mkdtemp(prefix="bgp", dir="/tmp"))
    root.chmod(0o755)  # ExaBGP runs as a user of its own
    made = Rack(root)
    try:
        yield made
    finally:
        try:
            made.close()
        finally:
            made.clean()
            shutil.rmtree(root)


def test_a_router_learns_a_service_and_loses_it_with_its_endpoints(rack: Rack) -> None:
    peer = {"metadata": {"name": "tor"},
            "spec": {"myASN": 64512, "peerASN": 64513, "peerAddress": str(rack.router), "holdTime": "9s"}}  # fmt: skip
    service = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}], "externalIPs": [ADDRESS]}}
    rack.do(rack.admin.create(SERVICES, service, "default"))
    rack.do(rack.admin.create(ENDPOINTSLICES, {**SLICE, "endpoints": []}, "default"))
    rack.do(rack.admin.create(BGP_ADVERTISEMENTS, {"metadata": {"name": "all"}, "spec": {}}))
    rack.do(rack.admin.create(BGP_PEERS, peer))
    rack.until("the session", lambda: [each["state"] for each in rack.sessions()] == ["Established"])
    assert not rack.learned(), "nobody answers for the service yet"

    rack.set_ready(True)
    here = {f"{ADDRESS}/32": [str(rack.node)]}
    rack.until("the address", lambda: rack.learned() == here)
    rack.until("the count", lambda: rack.sessions()[0].get("announced") == 1)
    rack.set_ready(False)
    rack.until("the address to go", lambda: not rack.learned())
    rack.set_ready(True)
    rack.until("it comes back", lambda: rack.learned() == here)

    [process] = rack.processes()
    os.kill(process, signal.SIGKILL)
    rack.until("the session to break", lambda: not rack.learned())
    rack.until("another process says the same", lambda: rack.learned() == here)
    assert rack.processes() != [process]

    changed = {"spec": {"communities": ["64512:77"], "aggregationLength": 24}}
    rack.do(rack.admin.patch(BGP_ADVERTISEMENTS, "all", changed, "application/merge-patch+json"))
    rack.until("a prefix in place of an address", lambda: list(rack.learned()) == ["203.0.113.0/24"])
    assert "64512:77" in rack.frr.ask("show ip bgp 203.0.113.0/24")

    rack.stop_speaker()
    rack.until("a farewell", lambda: not rack.learned(), 5)
    assert not rack.processes()


def test_what_is_wrong_with_a_peer_or_its_router_stands_in_the_status(rack: Rack) -> None:
    """Another API server would not have checked more than the schema."""
    rack.validators.clear()
    spec = {"myASN": 64512, "peerASN": 64513, "peerAddress": str(rack.router), "holdTime": "soon"}
    rack.do(rack.admin.create(BGP_PEERS, {"metadata": {"name": "tor"}, "spec": spec}))
    rack.until("the mistake", lambda: any("must be a time such as 90s" in each["message"] for each in rack.sessions()))
    assert not rack.processes()
    change = {"spec": {"holdTime": "9s", "peerASN": 64999}}
    rack.do(rack.admin.patch(BGP_PEERS, "tor", change, "application/merge-patch+json"))
    rack.until("the router's refusal", lambda: any("peer" in each.get("message", "") for each in rack.sessions()))
    assert [each["state"] for each in rack.sessions()] != ["Established"]
