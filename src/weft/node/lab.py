"""The lab agent: makes network namespaces, links and kernel routes agree with the Routers, Switches, Hosts, Links and
RouteTables of each lab, and writes back what came of it.

In: those objects, by watches. Out: the kernel's state, through `weft.network.dataplane.linux`, and their statuses. A
node's finalizer goes when its namespace has gone. What to make (`desired_state`) and what to say (`statuses`) is pure.
"""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface
from typing import Any

from weft.api.status import ApiError
from weft.client.base import Client, Object
from weft.client.informer import Informer
from weft.core.clock import Clock, SystemClock
from weft.core.errors import WeftError
from weft.core.ids import short_hash
from weft.core.settings import Settings
from weft.core.tasks import Tasks
from weft.core.workqueue import WorkQueue
from weft.network.dataplane.linux import (
    DataLink,
    End,
    LinuxDataplane,
    Namespace,
    NetworkState,
    Report,
)
from weft.network.topology.names import namespace_prefix
from weft.network.topology.resources import NODE_FINALIZER, PARTS, ROUTING_POLICIES
from weft.network.topology.units import parse_rate
from weft.node.lab_openflow import FABRIC, LabSwitching, openflow_switches, port_name
from weft.node.lab_routing import LabRouting, Learned, entries, policies_of
from weft.node.lab_routing import status as routing_status
from weft.node.lab_tables import protected, routes_of, segments_of

logger = logging.getLogger(__name__)

LabKey = tuple[str, str]  # the API's namespace, the Topology's name
Outcome = tuple["Lab", NetworkState, Report]
RESYNC_SECONDS = 30.0
DEFAULT_MTU = 1500
# At most so often is a lab repaired that somebody keeps changing.
REPAIR_SECONDS = 0.3
# Neighbours change in bursts; their statuses are written together.
TELL_SECONDS = 0.2
_WHOLE = ""  # the key of an error that nothing could be done after: no node or link is named so


@dataclass(slots=True)
class Lab:
    """The objects of one lab at one moment; `leaving` are nodes that are being deleted."""

    nodes: dict[str, Object] = field(default_factory=dict)
    leaving: list[Object] = field(default_factory=list)
    links: list[Object] = field(default_factory=list)
    tables: list[Object] = field(default_factory=list)


def desired_state(lab: Lab) -> NetworkState:
    """What the kernel should have for a lab. Links wait until both of their nodes are known."""
    fabric = openflow_switches(lab.nodes)
    routes = {table["spec"]["node"]: routes_of(table) for table in lab.tables}
    segments = {table["spec"]["node"]: segments_of(table) for table in lab.tables}
    namespaces = tuple(
        Namespace(
            name,
            forward=node["kind"] == "Router",
            bridge=node["kind"] == "Switch",
            loopback=(ip_interface(node["spec"]["loopback"]),) if node["spec"].get("loopback") else (),
            routes=routes.get(name, ()),
            local_segments=segments.get(name, ()),
        )
        for name, node in sorted(lab.nodes.items())
        if name not in fabric
    )
    if fabric:
        namespaces += (Namespace(FABRIC, ports=True),)
    links = []
    for link in lab.links:
        spec = link["spec"]
        if all(end["node"] in lab.nodes for end in spec["endpoints"]):
            a, b = (_end(end, spec["name"], fabric) for end in spec["endpoints"])
            rate = parse_rate(spec["capacity"]) if spec.get("capacity") else 0
            up, mtu = spec.get("state") != "down", spec.get("mtu", DEFAULT_MTU)
            links.append(DataLink(spec["name"], (a, b), mtu=mtu, rate=rate, up=up))
    return NetworkState(namespaces, tuple(sorted(links, key=lambda link: link.name)))


def _end(raw: Object, link: str, fabric: frozenset[str]) -> End:
    if raw["node"] in fabric:
        return End(FABRIC, port_name(raw["node"], link))
    addresses = tuple(ip_interface(raw[key]) for key in ("address", "tunnelAddress") if raw.get(key))
    return End(raw["node"], raw["interface"], addresses)


def statuses(
    lab: Lab, state: NetworkState, report: Report, netns: dict[str, str], learned: dict[str, Learned]
) -> list[tuple[Object, Object]]:
    """(object, its status) for everything that is in the lab; `learned` is what routing daemons told, by router."""
    found = []
    for name, node in lab.nodes.items():
        wrong = report.errors.get(name, "")
        status: Object = {"phase": "Failed" if wrong else "Ready", "netns": netns[name], "message": wrong}
        status |= routing_status(learned.get(name), node["spec"].get("loopback", ""))
        found.append((node, status))
    usable: set[tuple[str, str]] = set()
    made = {link.name: link for link in state.links}
    for obj in lab.links:
        link = made.get(obj["spec"]["name"])
        if link is None:
            continue
        wrong = report.errors.get(link.name, "")
        silent = link.up and any(end.interface in _silent(learned, end.namespace) for end in link.ends)
        if silent and not wrong:
            wrong = "the neighbor is silent (BFD)"
        up = link.up and not wrong
        if up:
            usable |= {(end.namespace, end.interface) for end in link.ends}
        found.append((obj, {"state": "up" if up else "down", "message": wrong or _unenforced(obj, report)}))
    for table in lab.tables:
        node, routes = table["spec"]["node"], table["spec"].get("routes") or []
        hops = [(node, hop["interface"]) for route in routes for hop in route["nextHops"]]
        missing = next((interface for node, interface in hops if (node, interface) not in usable), "")
        wrong = report.errors.get(node, "") or (f"interface {missing} is not up" if missing else "")
        if node not in lab.nodes:
            wrong = f"there is no node {node}"
        found.append(
            (table, {"installed": not wrong, "routes": len(routes), "protected": protected(table), "message": wrong})
        )
    return found


def _silent(learned: dict[str, Learned], router: str) -> set[str]:
    return learned[router].silent if router in learned else set()


def _unenforced(link: Object, report: Report) -> str:
    """What of a link's wishes is not kept."""
    spec = link["spec"]
    wishes = [name for name in ("delay", "jitter", "loss") if spec.get(name)]
    if spec["name"] in report.unlimited:
        wishes.insert(0, "capacity")
    return f"not enforced: {', '.join(wishes)}" if wishes else ""


class LabAgent:
    """`run` keeps all labs of this node until it is cancelled; the labs stay as they are then."""

    def __init__(self, settings: Settings, client: Client, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock or SystemClock()
        self._queue: WorkQueue[LabKey] = WorkQueue(self._clock, base_delay=0.1, max_delay=10.0)
        self._tell: WorkQueue[LabKey] = WorkQueue(self._clock, base_delay=0.05, max_delay=5.0)
        self._planes: dict[LabKey, LinuxDataplane] = {}
        self._routings: dict[LabKey, LabRouting] = {}
        self._switching = LabSwitching(settings.instance, settings.paths.run, self._tell_again, self._queue.add)
        self._watching: dict[LabKey, asyncio.Task[None]] = {}
        self._outcomes: dict[LabKey, Outcome] = {}
        self._last: dict[LabKey, Outcome] = {}
        self._informers: dict[str, Informer] = {}
        self._policies = Informer(client, ROUTING_POLICIES)

    async def run(self) -> None:
        self._informers = {kind: Informer(self._client, gvr) for kind, gvr in PARTS.items()}
        self._policies = Informer(self._client, ROUTING_POLICIES)
        self._policies.on_change(self._policy_changed)
        for informer in self._informers.values():
            informer.add_index("lab", lambda obj: ["/".join(_lab_of(obj))])
            informer.on_change(self._changed)
        tasks = Tasks()
        try:
            for kind, informer in self._informers.items():
                tasks.start(f"informer {kind}", informer.run)
            tasks.start("informer RoutingPolicy", self._policies.run)
            for informer in (*self._informers.values(), self._policies):
                await informer.synced()
            tasks.start("labs", self._work)
            # Statuses are written apart, so that a change of routes never waits for the API server.
            tasks.start("lab statuses", self._work_statuses)
            tasks.start("lab resync", self._resync)
            await asyncio.Event().wait()
        finally:
            await tasks.close()
            for watching in self._watching.values():
                watching.cancel()
            await asyncio.gather(*self._watching.values(), return_exceptions=True)
            self._watching.clear()
            for routing in self._routings.values():
                await routing.close(leave=True)
            self._routings.clear()
            await self._switching.close()
            for plane in self._planes.values():
                plane.close()
            self._planes.clear()

    def _changed(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        if old is None or new is None or _wish(old) != _wish(new):
            self._queue.add(_lab_of(obj))

    def _policy_changed(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        if old is not None and new is not None and old["spec"] == new["spec"]:
            return
        metadata = obj["metadata"]
        for router in self._informers["Router"].list(metadata["namespace"]):
            if metadata["name"] in policies_of(router):
                self._queue.add(_lab_of(router))

    def _lab(self, key: LabKey) -> Lab:
        lab = Lab()
        for kind, informer in self._informers.items():
            for obj in informer.by_index("lab", "/".join(key)):
                if kind == "Link":
                    lab.links.append(obj)
                elif kind == "RouteTable":
                    lab.tables.append(obj)
                elif "deletionTimestamp" in obj["metadata"]:
                    lab.leaving.append(obj)
                else:
                    lab.nodes[obj["spec"]["node"]] = obj
        return lab

    async def _work(self) -> None:
        while (key := await self._queue.get()) is not None:
            try:
                await self._reconcile(key)
            finally:
                self._queue.done(key)

    async def _reconcile(self, key: LabKey) -> None:
        lab = self._lab(key)
        if key not in self._planes:
            self._planes[key] = LinuxDataplane(namespace_prefix(self._settings.instance, *key))
        plane = self._planes[key]
        if (watching := self._watching.pop(key, None)) is not None:
            watching.cancel()
        state = NetworkState()
        try:
            state = desired_state(lab)
            report = await plane.apply(state)
            report = await self._route(key, plane, lab, report)
            switching = await self._switching.apply(key, lab.nodes, lab.links, plane.path)
            report = replace(report, errors={**switching, **report.errors})
        except (WeftError, OSError, ValueError) as error:
            logger.warning("cannot set up a lab", extra={"lab": "/".join(key), "error": str(error)})
            report = Report({**dict.fromkeys(lab.nodes, str(error)), _WHOLE: str(error)})
        if report.changes:
            logger.info("lab set up", extra={"lab": "/".join(key), "changes": report.changes})
        self._outcomes[key] = self._last[key] = (lab, state, report)
        self._tell.add(key)
        if report.errors:
            self._queue.retry(key)
            return
        self._queue.forget(key)
        if lab.nodes:
            self._watching[key] = asyncio.create_task(self._repair(key, plane))
        else:
            plane.close()
            del self._planes[key]
            self._last.pop(key, None)

    async def _repair(self, key: LabKey, plane: LinuxDataplane) -> None:
        """Looks at a lab again soon after somebody has changed its namespaces by hand."""
        await plane.changed()
        self._queue.add_after(key, REPAIR_SECONDS)

    async def _route(self, key: LabKey, plane: LinuxDataplane, lab: Lab, report: Report) -> Report:
        """Keeps the routing daemons of a lab; they start when their namespaces are there and end with them."""
        nodes = {k: v for k, v in lab.nodes.items() if k not in report.errors}
        names = {name for node in nodes.values() if node["kind"] == "Router" for name in policies_of(node)}
        policies = {name: obj for name in names if (obj := self._policies.get(key[0], name)) is not None}
        wanted = entries(nodes, lab.links, plane.path, policies)
        routing = self._routings.get(key)
        if routing is None:
            if not wanted:
                return report
            directory = self._settings.paths.run / "routing" / short_hash("/".join(key), 10)
            routing = self._routings[key] = LabRouting(
                "/".join(key), directory, lambda: self._tell_again(key), lambda: self._queue.add(key)
            )
        errors = await routing.apply(wanted)
        if not wanted:
            await routing.close(leave=False)
            del self._routings[key]
        return replace(report, errors={**errors, **report.errors})

    def _tell_again(self, key: LabKey) -> None:
        """What a daemon has learned is told together with the outcome of the last reconciliation."""
        if key in self._last:
            self._outcomes.setdefault(key, self._last[key])
            self._tell.add_after(key, TELL_SECONDS)

    async def _resync(self) -> None:
        """Looks at all labs now and then: somebody may have changed the kernel's state by hand."""
        while True:
            await self._clock.sleep(RESYNC_SECONDS)
            for key in self._planes:
                self._queue.add(key)

    async def _work_statuses(self) -> None:
        while (key := await self._tell.get()) is not None:
            try:
                await self._write(key)
                self._tell.forget(key)
            except (WeftError, OSError) as error:
                logger.log(
                    logging.DEBUG if isinstance(error, ApiError) and error.code in (404, 409) else logging.WARNING,
                    "cannot tell of a lab",
                    extra={"lab": "/".join(key), "error": str(error)},
                )
                self._tell.retry(key)
            finally:
                self._tell.done(key)

    async def _write(self, key: LabKey) -> None:
        outcome = self._outcomes.pop(key, None)
        if outcome is None:
            return
        lab, state, report = outcome
        prefix = namespace_prefix(self._settings.instance, *key)
        fabric = openflow_switches(lab.nodes)
        netns = {name: f"{prefix}-{FABRIC if name in fabric else name}" for name in lab.nodes}
        learned = self._routings[key].learned if key in self._routings else {}
        told = statuses(lab, state, report, netns, learned)
        for obj, status in told:
            if obj["kind"] == "Switch" and status["phase"] != "Failed":
                status |= self._switching.status(key, obj["spec"]["node"])
        writes: list[Awaitable[Any]] = [self._write_status(obj, status) for obj, status in told]
        if _WHOLE not in report.errors:
            writes += [self._let_go(obj) for obj in lab.leaving]
        results = await asyncio.gather(*writes, return_exceptions=True)
        failed = [result for result in results if isinstance(result, BaseException)]
        if failed:
            self._outcomes.setdefault(key, outcome)
            raise failed[0]

    async def _write_status(self, obj: Object, status: Object) -> None:
        metadata = obj["metadata"]
        informer = self._informers[obj["kind"]]
        latest = informer.get(metadata["namespace"], metadata["name"])
        status["observedGeneration"] = metadata.get("generation", 0)
        if latest is None or latest["metadata"]["uid"] != metadata["uid"] or latest.get("status") == status:
            return
        try:
            await self._client.patch(
                informer.gvr,
                metadata["name"],
                {"metadata": {"uid": metadata["uid"]}, "status": status},
                "application/merge-patch+json",
                metadata["namespace"],
                subresource="status",
            )
        except ApiError as error:
            if error.code != 404:
                raise

    async def _let_go(self, obj: Object) -> None:
        """Takes our finalizer off a node whose namespace is gone."""
        metadata = obj["metadata"]
        finalizers = metadata.get("finalizers") or []
        if NODE_FINALIZER not in finalizers:
            return
        rest = [name for name in finalizers if name != NODE_FINALIZER]
        patch = {"metadata": {"uid": metadata["uid"], "finalizers": rest}}
        try:
            await self._client.patch(
                self._informers[obj["kind"]].gvr,
                metadata["name"],
                patch,
                "application/merge-patch+json",
                metadata["namespace"],
            )
        except ApiError as error:
            if error.code not in (404, 409):  # gone, or already another of this name
                raise


def _lab_of(obj: Object) -> LabKey:
    return obj["metadata"]["namespace"], obj["spec"]["topology"]


def _wish(obj: Object) -> tuple[Any, ...]:
    """All but the status, which is our own word."""
    return obj["spec"], obj["metadata"]["uid"], obj["metadata"].get("deletionTimestamp")
