"""Labs: keeps the Routers, Switches, Hosts, Links and RouteTables of each Topology as the network controller decides.

In: Topologies, and what the node says of their parts. Out: the parts, owned by their Topology; on it a status and a
finalizer that goes when the last of its nodes has gone. What to write is decided by `weft.network.controller.decide`
and `plan`, which are pure. Who is next: the node's lab agent, which makes the kernel agree.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, field

from weft.api.gvr import GVR, TOPOLOGIES
from weft.api.status import ApiError
from weft.client.base import Object
from weft.client.informer import Informer, Key, by_owner
from weft.controllers.runner import Context, controller_of, enqueue, enqueue_controller, owner_reference
from weft.core.errors import ConflictError, InvalidError
from weft.core.workqueue import WorkQueue
from weft.network.controller import Part, decide
from weft.network.topology.model import State, Topology
from weft.network.topology.reader import read_topology
from weft.network.topology.resources import (
    API_VERSION,
    LAB_FINALIZER,
    LAB_LABEL,
    NODE_FINALIZER,
    NODE_KINDS,
    PARTS,
)

Parts = dict[tuple[str, str], Object]  # by kind and name


@dataclass(slots=True)
class Plan:
    """What to write for one Topology. `taken` are names that belong to something else."""

    create: list[Part] = field(default_factory=list)
    update: list[tuple[str, Object]] = field(default_factory=list)
    delete: list[tuple[str, Object]] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.create or self.update or self.delete or self.taken)


def link_states(parts: Parts) -> tuple[dict[str, State], frozenset[str]]:
    """The wishes for links by name, and the links that are seen down against their wish."""
    states: dict[str, State] = {}
    failed = set()
    for (kind, _), obj in parts.items():
        if kind != "Link":
            continue
        name = obj["spec"]["name"]
        states[name] = "down" if obj["spec"].get("state") == "down" else "up"
        if states[name] == "up" and (obj.get("status") or {}).get("state") == "down":
            failed.add(name)
    return states, frozenset(failed)


def plan(uid: str, wanted: Sequence[Part], present: Parts) -> Plan:
    """`present` are all objects of the namespace that are the Topology's or have a name that it wants."""
    result = Plan()
    for part in wanted:
        obj = present.get((part.kind, part.name))
        if obj is None:
            result.create.append(part)
        elif not _is_owned(obj, uid) or "deletionTimestamp" in obj["metadata"]:
            result.taken.append(f"{part.kind} {part.name}")
        elif obj["spec"] != part.spec:
            result.update.append((part.kind, {**obj, "spec": part.spec}))
    names = {(part.kind, part.name) for part in wanted}
    for key, obj in present.items():
        if key not in names and _is_owned(obj, uid) and "deletionTimestamp" not in obj["metadata"]:
            result.delete.append((key[0], obj))
    return result


def summarize(topology: Object, wanted: Sequence[Part], present: Parts, todo: Plan) -> Object:
    """The Topology's status: Ready when all nodes are, links are as wished and routes are in the kernel."""
    counts = dict.fromkeys(PARTS, 0)
    waiting: list[str] = []
    failures: list[str] = []
    for part in wanted:
        obj = present.get((part.kind, part.name))
        status = (obj or {}).get("status") or {}
        current = obj is not None and status.get("observedGeneration") == obj["metadata"].get("generation")
        what = f"{part.kind} {part.name}"
        if status.get("phase") == "Failed":
            failures.append(_because(what, status))
        if part.kind == "Link":
            good = current and status.get("state") == part.spec["state"]
            counts["Link"] += status.get("state") == "up"
        else:
            good = current and (status.get("phase") == "Ready" or status.get("installed") is True)
            counts[part.kind] += 1
        if not good:
            waiting.append(_because(what, status))
    links = sum(part.kind == "Link" for part in wanted)
    phase, message = "Ready", ""
    if failures:
        phase, message = "Failed", failures[0]
    elif todo.taken:
        phase, message = "Pending", f"waiting for the name of {todo.taken[0]}, which another object has"
    elif waiting or not todo.is_empty:
        phase, message = "Pending", f"waiting for {waiting[0]}" if waiting else "writing"
    return {
        "observedGeneration": topology["metadata"]["generation"],
        "phase": phase,
        "message": message,
        "routers": counts["Router"],
        "switches": counts["Switch"],
        "hosts": counts["Host"],
        "links": f"{counts['Link']}/{links}",
    }


def _because(what: str, status: Object) -> str:
    return f"{what}: {status['message']}" if status.get("message") else what


def _is_owned(obj: Object, uid: str) -> bool:
    owner = controller_of(obj)
    return owner is not None and owner["uid"] == uid


class NetworkController:
    """One reconcile a Topology."""

    name = "network"

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self.queue: WorkQueue[Key] = WorkQueue(context.clock)
        self._topologies = context.informers.of(TOPOLOGIES)
        self._topologies.on_change(enqueue(self.queue))
        self._parts: dict[str, Informer] = {}
        for kind, gvr in PARTS.items():
            informer = self._parts[kind] = context.informers.of(gvr)
            informer.add_index("owner", by_owner)
            informer.on_change(enqueue_controller(self.queue, "Topology"))
        self.informers: Sequence[Informer] = [self._topologies, *self._parts.values()]
        self._decided: dict[Key, tuple[object, list[Part]]] = {}

    async def reconcile(self, key: Key) -> None:
        topology = self._topologies.get(*key)
        if topology is None:
            self._decided.pop(key, None)
            return
        if "deletionTimestamp" in topology["metadata"]:
            await self._remove(topology)
            return
        finalizers = topology["metadata"].get("finalizers") or []
        if LAB_FINALIZER not in finalizers:
            topology = await self._set_finalizers(topology, [*finalizers, LAB_FINALIZER])
        try:
            model = read_topology(topology)
        except InvalidError as error:  # where the API server does not check, such as a Kubernetes without Weft
            generation = topology["metadata"]["generation"]
            status = {"observedGeneration": generation, "phase": "Failed", "message": str(error)}
            await self._write_status(topology, status)
            return
        mine = self._owned(topology)
        wanted = self._decide(key, topology, model, mine)
        present = dict(mine)
        for part in wanted:
            if (part.kind, part.name) not in present:
                obj = self._parts[part.kind].get(key[0], part.name)
                if obj is not None:
                    present[part.kind, part.name] = obj
        todo = plan(topology["metadata"]["uid"], wanted, present)
        await self._act(topology, todo)
        await self._write_status(topology, summarize(topology, wanted, present, todo))
        if todo.taken:
            raise ConflictError(f"{todo.taken[0]} is there, and is not of this lab")

    def _decide(self, key: Key, topology: Object, model: Topology, mine: Parts) -> list[Part]:
        """The last decision again where nothing that it rests on has changed: most events are statuses."""
        states, failed = link_states(mine)
        basis = (topology["metadata"]["uid"], topology["metadata"]["generation"], states, failed)
        known = self._decided.get(key)
        if known is None or known[0] != basis:
            known = self._decided[key] = (basis, decide(model, states, failed))
        return known[1]

    def _owned(self, topology: Object) -> Parts:
        uid = topology["metadata"]["uid"]
        return {
            (kind, obj["metadata"]["name"]): obj
            for kind, informer in self._parts.items()
            for obj in informer.by_index("owner", uid)
        }

    async def _act(self, topology: Object, todo: Plan) -> None:
        """All writes at once: they are for different objects, and the store commits them together."""
        namespace = topology["metadata"]["namespace"]
        reference = owner_reference(topology, TOPOLOGIES, "Topology")

        async def create(part: Part) -> None:
            metadata: Object = {
                "name": part.name,
                "namespace": namespace,
                "labels": {LAB_LABEL: topology["metadata"]["name"]},
                "ownerReferences": [reference],
            }
            if part.kind in NODE_KINDS:
                metadata["finalizers"] = [NODE_FINALIZER]
            body = {"apiVersion": API_VERSION, "kind": part.kind, "metadata": metadata, "spec": part.spec}
            await self._client.create(PARTS[part.kind], body, namespace)

        await _all(
            [
                *(self._client.update(PARTS[kind], obj) for kind, obj in todo.update),
                *(create(part) for part in todo.create),
                *(self._delete(PARTS[kind], obj) for kind, obj in todo.delete),
            ]
        )

    async def _delete(self, gvr: GVR, obj: Object) -> None:
        metadata = obj["metadata"]
        try:
            await self._client.delete(gvr, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except ApiError as error:
            if error.code not in (404, 409):  # gone, or already another
                raise

    async def _remove(self, topology: Object) -> None:
        """Deletes the parts; the Topology goes when no node is left."""
        if LAB_FINALIZER not in (topology["metadata"].get("finalizers") or []):
            return
        mine = self._owned(topology)
        await _all(
            self._delete(PARTS[kind], obj)
            for (kind, _), obj in mine.items()
            if "deletionTimestamp" not in obj["metadata"]
        )
        nodes = [name for kind, name in mine if kind in NODE_KINDS]
        if not nodes:
            others = [name for name in topology["metadata"]["finalizers"] if name != LAB_FINALIZER]
            await self._set_finalizers(topology, others)
            return
        status = {"phase": "Terminating", "message": f"waiting for {len(nodes)} nodes to go"}
        await self._write_status(topology, {**(topology.get("status") or {}), **status})

    async def _set_finalizers(self, topology: Object, finalizers: list[str]) -> Object:
        metadata = {**topology["metadata"], "finalizers": finalizers}
        return await self._client.update(TOPOLOGIES, {**topology, "metadata": metadata})

    async def _write_status(self, topology: Object, status: Object) -> None:
        if topology.get("status") == status:
            return
        metadata = topology["metadata"]
        await self._client.patch(
            TOPOLOGIES,
            metadata["name"],
            {"status": status},
            "application/merge-patch+json",
            metadata["namespace"],
            subresource="status",
        )


async def _all(writes: Iterable[Awaitable[object]]) -> None:
    """Waits for all; then raises the first error, if any, so that one failure does not hold up the others."""
    results = await asyncio.gather(*writes, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
