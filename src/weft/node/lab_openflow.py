"""The OpenFlow switches of labs: for each lab one private Open vSwitch in a network namespace of its own, and one
controller, which finds links and hosts by itself.

In: the Switch and Link objects of a lab whose switches say `dataplane: openflow`; the lab agent has made the namespace
and the veth pairs. Out: bridges with their ports, flows and groups, and what statuses say. Open vSwitch lives on when
this process ends, with the flows that it has; who comes next finds it by its files and sends only what differs.
"""

import contextlib
import hashlib
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weft.core.errors import NotFoundError, WeftError
from weft.core.ids import short_hash
from weft.network.dataplane.openflow import Bridge, FabricController, OpenFlowDataplane, OpenVSwitch
from weft.network.dataplane.openflow import End as Port
from weft.network.southbound import netns, offload
from weft.network.topology.names import interface_name

logger = logging.getLogger(__name__)
Object = dict[str, Any]
LabKey = tuple[str, str]
# The namespace of all OpenFlow switches of a lab: no node has an underscore in its name.
FABRIC = "fabric_0"
SETTLE_SECONDS = 0.5
PROBE_SECONDS = 0.5


def openflow_switches(nodes: Mapping[str, Object]) -> frozenset[str]:
    return frozenset(
        name for name, node in nodes.items()
        if node["kind"] == "Switch" and node["spec"].get("dataplane") == "openflow"
    )  # fmt: skip


def port_name(node: str, link: str) -> str:
    """A switch's end of a link. Both ends of a link between two switches are in one namespace."""
    return f"{node[:7]}_{short_hash(f'{node}/{link}', 7)}"


def datapath_id(instance: str, lab: LabKey, node: str) -> int:
    """The same each time, and another for each switch of any lab; never 0."""
    return int.from_bytes(hashlib.sha256("/".join((instance, *lab, node)).encode()).digest()[:8]) or 1


@dataclass(frozen=True, slots=True)
class Wire:
    """A link's end at a switch; `peer` is the switch at the other end, "" for a node of another kind."""

    link: str
    interface: str
    up: bool
    peer: str = ""


def wires(switches: frozenset[str], links: Iterable[Object], there: Iterable[str]) -> dict[str, list[Wire]]:
    """What each switch is cabled to, as far as both nodes of a link are there."""
    found: dict[str, list[Wire]] = {name: [] for name in sorted(switches)}
    present = set(there)
    for link in sorted(links, key=lambda link: str(link["spec"]["name"])):
        name, up = link["spec"]["name"], link["spec"].get("state") != "down"
        a, b = (end["node"] for end in link["spec"]["endpoints"])
        if a in present and b in present:
            for mine, other in ((a, b), (b, a)):
                if mine in switches:
                    found[mine].append(Wire(name, port_name(mine, name), up, other if other in switches else ""))
    return found


def numbered(wanted: Iterable[str], has: Mapping[str, int]) -> dict[str, int]:
    """OpenFlow numbers for ports: each keeps the one that it has, new ones take the lowest that are free."""
    wanted = list(wanted)
    kept = {name: has[name] for name in wanted if name in has}
    free = iter(sorted(set(range(1, len(wanted) + 1)) - set(kept.values())))
    return {name: kept[name] if name in kept else next(free) for name in wanted}


@dataclass(slots=True)
class _Lab:
    ovs: OpenVSwitch
    plane: OpenFlowDataplane
    controller: FabricController
    datapaths: dict[str, int] = field(default_factory=dict)
    bridges: dict[str, Bridge] = field(default_factory=dict)  # by node
    wires: dict[str, list[Wire]] = field(default_factory=dict)


class LabSwitching:
    """`changed` is told of a lab when its statuses may have, `lost` when a switch has gone and `apply` should look."""

    def __init__(
        self, instance: str, run: Path, changed: Callable[[LabKey], None], lost: Callable[[LabKey], None]
    ) -> None:
        self._instance = instance
        self._run = run / "openflow"
        self._changed = changed
        self._lost = lost
        self._labs: dict[LabKey, _Lab] = {}

    async def apply(
        self, key: LabKey, nodes: Mapping[str, Object], links: list[Object], path: Callable[[str], Path]
    ) -> dict[str, str]:
        """Makes Open vSwitch agree; returns what is wrong, by switch."""
        switches = openflow_switches(nodes)
        directory = self._run / short_hash("/".join(key), 10)
        if not switches:
            if key in self._labs or directory.exists():
                await self._remove(key, directory)
            return {}
        try:
            if key not in self._labs:
                self._labs[key] = await self._open(key, directory, path(FABRIC))
            await self._ensure(key, self._labs[key], wires(switches, links, nodes))
            _whole_checksums(switches, links, nodes, path)
        except (WeftError, OSError) as error:
            return dict.fromkeys(switches, str(error))
        return {}

    async def _open(self, key: LabKey, directory: Path, namespace: Path) -> _Lab:
        directory.mkdir(parents=True, exist_ok=True)
        plane = OpenFlowDataplane("/".join((self._instance, *key)))
        controller = FabricController(plane, settle=SETTLE_SECONDS, probe_every=PROBE_SECONDS, spread_udp=True)
        controller.changed = lambda: self._changed(key)
        controller.lost = lambda _: self._lost(key)
        await plane.start(directory / "controller")
        await controller.start()
        return _Lab(OpenVSwitch(directory, namespace), plane, controller)

    async def _ensure(self, key: LabKey, lab: _Lab, cabled: dict[str, list[Wire]]) -> None:
        if await lab.ovs.start():
            logger.info("Open vSwitch started", extra={"lab": "/".join(key)})
        has = await lab.ovs.bridges()
        lab.wires, lab.bridges = cabled, {}
        for node, its in cabled.items():
            name = interface_name(f"br-{node}")
            # Open vSwitch dials only sockets in its directory that are named after the bridge; all are the one.
            dialled = lab.ovs.directory / f"{name}.controller"
            with contextlib.suppress(FileExistsError):
                dialled.symlink_to("controller")
            known = has[name].ports if name in has else {}
            lab.datapaths[node] = datapath_id(self._instance, key, node)
            ports = numbered([wire.interface for wire in its], known)
            lab.bridges[node] = Bridge(name, lab.datapaths[node], ports, f"unix:{dialled}")
        if await lab.ovs.apply(lab.bridges.values()):
            keep = frozenset(bridge.datapath for bridge in lab.bridges.values())
            lab.controller.forget(lab.controller.fabric.datapaths - keep)
        lab.controller.recheck()

    async def _remove(self, key: LabKey, directory: Path) -> None:
        lab = self._labs.pop(key, None)
        if lab is not None:
            await lab.controller.close()
            await lab.plane.close()
        await OpenVSwitch(directory).stop()
        shutil.rmtree(directory, ignore_errors=True)

    async def close(self) -> None:
        """Lets go of all labs: their switches go on with what they have."""
        for lab in self._labs.values():
            await lab.controller.close()
            await lab.plane.close()
        self._labs.clear()

    def status(self, key: LabKey, node: str) -> Object:
        """What a Switch's status says of its datapath; Pending until the controller has found what is cabled."""
        lab = self._labs.get(key)
        if lab is None or node not in lab.bridges:
            return {}
        bridge, controller = lab.bridges[node], lab.controller
        connected = bridge.datapath in lab.plane.switches
        ports = []
        missing = ""
        for wire in lab.wires[node]:
            port = Port(bridge.datapath, bridge.ports[wire.interface])
            seen = controller.ports.get(port)
            is_up = wire.up and seen is not None and seen.is_up
            ports.append(
                {"number": port.port, "interface": wire.interface, "link": wire.link, "state": _up_or_down(is_up)}
            )
            if wire.up and wire.peer and not any(link[0] == port for link in controller.fabric.links):
                missing = missing or f"link {wire.link} has not been found yet"
        found: Object = {"datapath": f"{bridge.datapath:016x}", "connected": connected, "ports": ports}
        held = lab.plane.held.get(bridge.datapath)
        if held is not None:
            found["flows"], found["groups"] = held
        if not connected:
            return found | {"phase": "Pending", "message": "the switch is not connected to the controller"}
        if held is None or missing:
            return found | {"phase": "Pending", "message": missing or "its flows have not been decided yet"}
        return found


def _up_or_down(up: bool) -> str:
    return "up" if up else "down"


def _whole_checksums(
    switches: frozenset[str], links: Iterable[Object], nodes: Mapping[str, Object], path: Callable[[str], Path]
) -> None:
    """At the other ends of the switches' links: a switch in user space finishes no checksums."""
    beside: dict[Path, list[str]] = {}
    for link in links:
        a, b = link["spec"]["endpoints"]
        for mine, other in ((a, b), (b, a)):
            if other["node"] in switches and mine["node"] in nodes and mine["node"] not in switches:
                beside.setdefault(path(mine["node"]), []).append(mine["interface"])
    for done in netns.inside_each(beside, lambda at: offload.turn_off(beside[at])):
        if isinstance(done, WeftError) and not isinstance(done, NotFoundError):
            raise done


__all__ = ["FABRIC", "LabSwitching", "openflow_switches", "port_name"]
