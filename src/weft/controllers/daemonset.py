"""DaemonSet: one pod on each node that it may run on, replaced node by node when the template changes.

`decide` is pure: the set, the nodes, its pods and revisions, and the time, to pods to make and to delete and the
status. The scheduler binds the pods: each is pinned to its node by affinity.
Source: Kubernetes `pkg/controller/daemon` (`daemon_controller.go`, `update.go`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from weft.api import placement
from weft.api.gvr import DAEMONSETS
from weft.client.base import Object
from weft.controllers import history
from weft.controllers.claims import Claims, claim
from weft.controllers.podcontrol import from_template
from weft.controllers.pods import available_in, is_ready
from weft.controllers.rollout import resolve

GENERATION_LABEL = "pod-template-generation"
_NODE = "node.kubernetes.io/"
_TOLERATED = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """`ended` are those of `delete` that ended by themselves."""

    claims: Claims = field(default_factory=Claims)
    revision: history.Change | None = None
    create: tuple[Object, ...] = ()
    delete: tuple[Object, ...] = ()
    ended: tuple[Object, ...] = ()
    status: Object | None = None
    expired: tuple[Object, ...] = ()
    wake_after: float | None = None


@dataclass(slots=True)
class _World:
    """Pods by the node that they are for, and what is to be done, while a plan is made."""

    daemon_set: Object
    hash: str
    pods: Mapping[str, list[Object]]
    wanted: set[str]
    now: float
    create: dict[str, None] = field(default_factory=dict)
    delete: list[Object] = field(default_factory=list)
    ended: list[Object] = field(default_factory=list)

    def updated(self, pod: Object) -> bool:
        return bool((pod["metadata"].get("labels") or {}).get(history.HASH_LABEL) == self.hash)

    def available_in(self, pod: Object) -> float | None:
        return available_in(pod, self.daemon_set["spec"].get("minReadySeconds", 0), self.now)

    def available(self, pod: Object) -> bool:
        return self.available_in(pod) == 0 and not _is_going(pod)


def decide(
    daemon_set: Object, nodes: Sequence[Object], pods: Sequence[Object], revisions: Sequence[Object], now: float
) -> Plan:
    """`pods` are those that it owns and those that nobody does."""
    claims = claim(daemon_set, pods)
    own = [*claims.mine, *claims.adopt]
    change = history.present(daemon_set, DAEMONSETS, revisions)
    world = _world(daemon_set, nodes, own, change.revision, now)
    going = bool(daemon_set["metadata"].get("deletionTimestamp"))
    if not going:
        _manage(world, nodes)
        if daemon_set["spec"].get("updateStrategy", {}).get("type", "RollingUpdate") == "RollingUpdate":
            _roll(world)
    status, wake_after = _status(world, nodes)
    live_hashes = {(pod["metadata"].get("labels") or {}).get(history.HASH_LABEL) for pod in own}
    live = {
        each["metadata"]["name"]
        for each in revisions
        if (each["metadata"].get("labels") or {}).get(history.HASH_LABEL) in live_hashes
    } | {change.revision["metadata"]["name"]}
    limit = daemon_set["spec"].get("revisionHistoryLimit", 10)
    return Plan(
        claims,
        change if change.write and not going else None,
        tuple(new_pod(daemon_set, node, world.hash) for node in world.create),
        tuple(world.delete),
        tuple(world.ended),
        status,
        () if going else tuple(history.expired(revisions, live, limit)),
        wake_after,
    )


def _world(daemon_set: Object, nodes: Sequence[Object], own: Sequence[Object], revision: Object, now: float) -> _World:
    by_node: dict[str, list[Object]] = {}
    for pod in sorted(own, key=_by_age):
        by_node.setdefault(node_of(pod), []).append(pod)
    wanted = {node["metadata"]["name"] for node in nodes if placed_on(daemon_set, node)[0]}
    digest = revision["metadata"]["labels"][history.HASH_LABEL]
    return _World(daemon_set, digest, by_node, wanted, now)


def _by_age(pod: Object) -> tuple[str, str]:
    return pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"]


def node_of(pod: Object) -> str:
    """The node that the pod runs on, or is pinned to; empty where that is none."""
    if name := pod["spec"].get("nodeName"):
        return str(name)
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    terms = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or []
    for term in terms:
        for each in term.get("matchFields") or ():
            if each["key"] == "metadata.name" and each["operator"] == "In" and len(each["values"]) == 1:
                return str(each["values"][0])
    return ""


def placed_on(daemon_set: Object, node: Object) -> tuple[bool, bool]:
    """Whether a pod should run on the node, and whether one that does may stay."""
    spec = dict(daemon_set["spec"]["template"]["spec"])
    spec["tolerations"] = _tolerations(spec)
    name = node["metadata"]["name"]
    if spec.get("nodeName") not in (None, "", name) or not placement.selects(spec, node):
        return False, False
    if placement.untolerated(spec, node, ("NoSchedule", "NoExecute")) is None:
        return True, True
    return False, placement.untolerated(spec, node, ("NoExecute",)) is None


def _tolerations(spec: Object) -> list[Object]:
    """The pod's own, and those that keep daemons on nodes in trouble."""
    wanted = [{"key": _NODE + key, "operator": "Exists", "effect": effect} for key, effect in _TOLERATED]
    if spec.get("hostNetwork"):
        wanted.append({"key": _NODE + "network-unavailable", "operator": "Exists", "effect": "NoSchedule"})
    given = list(spec.get("tolerations") or ())
    return given + [each for each in wanted if each not in given]


def new_pod(daemon_set: Object, node: str, digest: str) -> Object:
    """The pod for a node, pinned to it."""
    metadata = daemon_set["metadata"]
    pod = from_template(daemon_set, DAEMONSETS, daemon_set["spec"]["template"], generateName=f"{metadata['name']}-")
    labels = pod["metadata"].setdefault("labels", {})
    labels |= {history.HASH_LABEL: digest, GENERATION_LABEL: str(metadata.get("generation", 1))}
    spec = pod["spec"]
    spec["tolerations"] = _tolerations(spec)
    pin = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": [pin]}
    return pod


def _manage(world: _World, nodes: Sequence[Object]) -> None:
    """Pods where they are missing; none where they should not be, have ended or are too many."""
    names = {node["metadata"]["name"]: placed_on(world.daemon_set, node) for node in nodes}
    surge = _amounts(world)[0]
    for name in dict.fromkeys([*names, *world.pods]):
        should, may_stay = names.get(name, (False, False))
        pods = [pod for pod in world.pods.get(name, ()) if not _is_going(pod)]
        if not may_stay:
            world.delete += pods
            continue
        running = []
        for pod in pods:
            if pod.get("status", {}).get("phase") in ("Failed", "Succeeded"):
                world.delete.append(pod)
                world.ended.append(pod)
            else:
                running.append(pod)
        if not running and should and not world.pods.get(name):
            world.create[name] = None
        world.delete += _too_many(world, running, surge)


def _too_many(world: _World, running: list[Object], surge: int) -> list[Object]:
    """All but the oldest; while surging, the oldest of each version."""
    if not surge:
        return running[1:]
    old = [pod for pod in running if not world.updated(pod)]
    new = [pod for pod in running if world.updated(pod)]
    return old[1:] + new[1:]


def _amounts(world: _World) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) as numbers."""
    strategy = world.daemon_set["spec"].get("updateStrategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return 0, 0
    total = len(world.wanted)
    surge = resolve(rolling.get("maxSurge", 0), total, round_up=True)
    return surge, resolve(rolling.get("maxUnavailable", 1), total, round_up=True)


def _roll(world: _World) -> None:
    """Lets pods of old versions go, or new ones come beside them, as far as the strategy allows."""
    surge, unavailable = _amounts(world)
    pairs = {name: _pair(world, name) for name in sorted(world.wanted)}
    if surge:
        _roll_by_surge(world, pairs, surge)
        return
    down, ready = 0, []
    for old, new in pairs.values():
        if old is not None and new is None:
            if not world.available(old):
                down += 1
                _let_go(world, old)
            else:
                ready.append(old)
        elif new is None or old is not None or not world.available(new):
            down += 1
    for pod in ready[: max(0, unavailable - down)]:
        _let_go(world, pod)


def _roll_by_surge(world: _World, pairs: Mapping[str, tuple[Object | None, Object | None]], surge: int) -> None:
    busy, waiting = 0, []
    for name, (old, new) in pairs.items():
        if old is None:
            continue
        if new is None:
            if world.available(old):
                waiting.append(name)
            elif not _is_going(old):
                world.create[name] = None  # what is there does not work: that is no surge
        elif world.available(new) or not world.available(old):
            _let_go(world, old)
        else:
            busy += 1
    for name in waiting[: max(0, surge - busy)]:
        world.create[name] = None


def _let_go(world: _World, pod: Object) -> None:
    if not _is_going(pod) and pod not in world.delete:
        world.delete.append(pod)


def _pair(world: _World, node: str) -> tuple[Object | None, Object | None]:
    """The pod of an old version on a node, and the one of the present."""
    pods = world.pods.get(node, ())
    old = next((pod for pod in pods if not world.updated(pod)), None)
    new = next((pod for pod in pods if world.updated(pod)), None)
    return old, new


def _status(world: _World, nodes: Sequence[Object]) -> tuple[Object, float | None]:
    daemon_set = world.daemon_set
    chosen = {
        name: min(pods, key=lambda pod: (not is_ready(pod), not world.updated(pod), _by_age(pod)))
        for name, pods in world.pods.items()
    }
    wanted = [chosen[name] for name in sorted(world.wanted) if name in chosen]
    present = {node["metadata"]["name"] for node in nodes}
    waits = [world.available_in(pod) for pod in wanted]
    available = sum(wait == 0 for wait in waits)
    before = daemon_set.get("status") or {}
    status: Object = {
        "currentNumberScheduled": len(wanted),
        "numberMisscheduled": len((world.pods.keys() & present) - world.wanted),
        "desiredNumberScheduled": len(world.wanted),
        "numberReady": sum(map(is_ready, wanted)),
        "observedGeneration": daemon_set["metadata"].get("generation", 0),
        "updatedNumberScheduled": sum(map(world.updated, wanted)),
        "numberAvailable": available,
        "numberUnavailable": len(world.wanted) - available,
    }
    for key in ("updatedNumberScheduled", "numberAvailable", "numberUnavailable"):
        if not status[key]:
            del status[key]
    for key in ("collisionCount", "conditions"):
        if before.get(key):
            status[key] = before[key]
    later = [wait for wait in waits if wait]
    return status, min(later) if later else None


def _is_going(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))
