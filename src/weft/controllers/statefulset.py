"""StatefulSet: pods with a place of their own, made in order, ended in reverse, updated from the last to the first.

`decide` is pure: the set, its pods, revisions and volume claims, and the time, to what to do next. With OrderedReady it
does one thing and waits until that is done. Source: Kubernetes `pkg/controller/statefulset/stateful_set_control.go`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from weft.api.gvr import STATEFULSETS
from weft.client.base import Object
from weft.controllers import history
from weft.controllers.claims import Claims, claim
from weft.controllers.pods import available_in, condition, is_ready
from weft.controllers.statefulset_pods import (
    claim_owned,
    first_ordinal,
    identity_fixed,
    new_claims,
    new_pod,
    ordinal_of,
    revision_of,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """In this order: claims, the revision, volume claims, pods, status, revisions that may go."""

    claims: Claims = field(default_factory=Claims)
    revision: history.Change | None = None
    volume_claims: tuple[Object, ...] = ()
    change_claims: tuple[Object, ...] = ()
    create: tuple[Object, ...] = ()
    change: tuple[Object, ...] = ()
    delete: tuple[Object, ...] = ()
    recreated: tuple[Object, ...] = ()  # those of `delete` that have ended by themselves
    status: Object | None = None
    expired: tuple[Object, ...] = ()
    wake_after: float | None = None


@dataclass(slots=True)
class _World:
    """What is there, and what is to be done, while a plan is made."""

    stateful_set: Object
    replicas: dict[int, Object | None]
    condemned: list[Object]
    volume_claims: Mapping[str, Object]
    templates: tuple[tuple[str, Object], tuple[str, Object]]  # the current and the updated version
    now: float
    make_claims: list[Object] = field(default_factory=list)
    change_claims: list[Object] = field(default_factory=list)
    create: list[Object] = field(default_factory=list)
    change: list[Object] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)
    recreated: list[Object] = field(default_factory=list)

    @property
    def ordered(self) -> bool:
        return bool(self.stateful_set["spec"].get("podManagementPolicy") != "Parallel")


def decide(
    stateful_set: Object,
    pods: Sequence[Object],
    revisions: Sequence[Object],
    volume_claims: Mapping[str, Object],
    now: float,
) -> Plan:
    """`pods` are those that it owns and those that nobody does, `volume_claims` those of the namespace, by name."""
    claims = claim(stateful_set, [pod for pod in pods if ordinal_of(stateful_set, pod) is not None])
    own = [*claims.mine, *claims.adopt]
    change = history.present(stateful_set, STATEFULSETS, revisions)
    updated = change.revision
    status = stateful_set.get("status") or {}
    current = next((r for r in revisions if r["metadata"]["name"] == status.get("currentRevision")), updated)
    world = _world(stateful_set, own, current, updated, volume_claims, now)
    going = bool(stateful_set["metadata"].get("deletionTimestamp"))
    if not going:
        _act(world)
    new_status, wake_after = _status(world, own, change.revision)
    live = {current["metadata"]["name"], updated["metadata"]["name"], *map(revision_of, own)}
    limit = stateful_set["spec"].get("revisionHistoryLimit", 10)
    return Plan(
        claims,
        change if change.write and not going else None,
        tuple(world.make_claims),
        tuple(world.change_claims),
        tuple(world.create),
        tuple(world.change),
        tuple(world.delete),
        tuple(world.recreated),
        new_status,
        () if going else tuple(history.expired(revisions, live, limit)),
        wake_after,
    )


def _world(
    stateful_set: Object,
    own: Sequence[Object],
    current: Object,
    updated: Object,
    volume_claims: Mapping[str, Object],
    now: float,
) -> _World:
    first = first_ordinal(stateful_set)
    replicas: dict[int, Object | None] = dict.fromkeys(range(first, first + _wanted(stateful_set)))
    condemned = []
    for pod in own:
        ordinal = ordinal_of(stateful_set, pod)
        if ordinal in replicas:
            replicas[ordinal] = pod
        else:
            condemned.append(pod)
    condemned.sort(key=lambda pod: ordinal_of(stateful_set, pod) or 0, reverse=True)
    versions = [(each["metadata"]["name"], history.template_of(each)) for each in (current, updated)]
    return _World(stateful_set, replicas, condemned, volume_claims, (versions[0], versions[1]), now)


def _wanted(stateful_set: Object) -> int:
    return int(stateful_set["spec"].get("replicas", 1))


def _act(world: _World) -> None:
    """Puts into `world` what is to be done now. In order, nothing comes after a thing that has not settled."""
    for pod in world.condemned:
        _fix_claims(world, pod, condemned=True)
    settled = True
    for ordinal in world.replicas:
        settled = _keep(world, ordinal) and settled
        if not settled and world.ordered:
            return
    _shrink(world)
    if not world.ordered or (settled and not world.condemned):
        _update(world)


def _keep(world: _World, ordinal: int) -> bool:
    """Makes the pod of an ordinal what it should be; whether it is already, and runs."""
    stateful_set, pod = world.stateful_set, world.replicas[ordinal]
    if pod is None:
        if _is_leaving(world, ordinal):
            return False
        revision, template = _version_for(world, ordinal)
        _claim_volumes(world, ordinal)
        world.create.append(new_pod(stateful_set, template, revision, ordinal))
        return False
    if pod.get("status", {}).get("phase") in ("Failed", "Succeeded"):
        if not _is_going(pod):
            world.delete.append(pod)
            world.recreated.append(pod)
        return False
    if pod.get("status", {}).get("phase") == "Pending":
        _claim_volumes(world, ordinal)
    settled = not _is_going(pod) and _available_in(world, pod) == 0
    if settled or not world.ordered:
        if (fixed := identity_fixed(stateful_set, pod, ordinal)) is not None:
            world.change.append(fixed)
        _fix_claims(world, pod, condemned=False)
    return settled


def _claim_volumes(world: _World, ordinal: int) -> None:
    missing = [c for c in new_claims(world.stateful_set, ordinal) if c["metadata"]["name"] not in world.volume_claims]
    world.make_claims += missing


def _is_leaving(world: _World, ordinal: int) -> bool:
    """A claim that goes with the last pod of the ordinal must be gone before there is a new one."""
    names = [each["metadata"]["name"] for each in new_claims(world.stateful_set, ordinal)]
    found = [world.volume_claims[name] for name in names if name in world.volume_claims]
    owners = [owner for each in found for owner in each["metadata"].get("ownerReferences") or []]
    return any(_is_going(each) for each in found) or any(owner["kind"] == "Pod" for owner in owners)


def _fix_claims(world: _World, pod: Object, *, condemned: bool) -> None:
    ordinal = ordinal_of(world.stateful_set, pod) or 0
    for wanted in new_claims(world.stateful_set, ordinal):
        found = world.volume_claims.get(wanted["metadata"]["name"])
        if found is None:
            continue
        if (owned := claim_owned(world.stateful_set, found, {**pod, "kind": "Pod"}, condemned=condemned)) is not None:
            world.change_claims.append(owned)


def _version_for(world: _World, ordinal: int) -> tuple[str, Object]:
    """The revision and template that a new pod of the ordinal has: below the partition, the old one."""
    strategy = world.stateful_set["spec"].get("updateStrategy") or {}
    first = first_ordinal(world.stateful_set)
    if strategy.get("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.get("rollingUpdate")
        kept = (
            int((world.stateful_set.get("status") or {}).get("currentReplicas", 0))
            if rolling is None
            else int(rolling.get("partition", 0))
        )
        if ordinal < first + kept:
            return world.templates[0]
    return world.templates[1]


def _shrink(world: _World) -> None:
    """Ends pods beyond the wanted number, the last first."""
    unhealthy = _first_unhealthy(world)
    for pod in world.condemned:
        if _is_going(pod):
            if world.ordered:
                return
            continue
        if world.ordered and _available_in(world, pod) != 0 and pod is not unhealthy:
            return
        world.delete.append(pod)
        if world.ordered:
            return


def _first_unhealthy(world: _World) -> Object | None:
    """Of all its pods, the one of the lowest ordinal that does not run."""
    kept = [pod for pod in world.replicas.values() if pod is not None]
    for pod in [*kept, *reversed(world.condemned)]:
        if _is_going(pod) or not _runs(pod):
            return pod
    return None


def _update(world: _World) -> None:
    """Ends the last pod that is not of the updated version; not before all after it run."""
    strategy = world.stateful_set["spec"].get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return
    first = first_ordinal(world.stateful_set)
    partition = int((strategy.get("rollingUpdate") or {}).get("partition", 0))
    updated = world.templates[1][0]
    for ordinal in sorted(world.replicas, reverse=True):
        pod = world.replicas[ordinal]
        if ordinal < first + partition or pod is None:
            return
        if revision_of(pod) != updated and not _is_going(pod):
            if pod not in world.delete:
                world.delete.append(pod)
            return
        if _is_going(pod) or _available_in(world, pod) != 0:
            return


def _status(world: _World, own: Sequence[Object], revision: Object) -> tuple[Object, float | None]:
    stateful_set = world.stateful_set
    (current, _), (updated, _) = world.templates
    before = stateful_set.get("status") or {}
    waits = [_available_in(world, pod) for pod in own]
    lasting = [pod for pod in own if not _is_going(pod)]
    wanted = _wanted(stateful_set)
    status: Object = {
        "observedGeneration": stateful_set["metadata"].get("generation", 0),
        "replicas": len(own),
        "readyReplicas": sum(_runs(pod) for pod in own),
        "availableReplicas": sum(wait == 0 for wait in waits),
        "currentReplicas": sum(revision_of(pod) == current for pod in lasting),
        "updatedReplicas": sum(revision_of(pod) == updated for pod in lasting),
        "currentRevision": current,
        "updateRevision": updated,
        "collisionCount": before.get("collisionCount", 0),
    }
    strategy = stateful_set["spec"].get("updateStrategy") or {}
    counts = (status["updatedReplicas"], status["readyReplicas"], status["replicas"])
    if strategy.get("type", "RollingUpdate") == "RollingUpdate" and set(counts) == {wanted}:
        status["currentReplicas"], status["currentRevision"] = status["updatedReplicas"], updated
    for key in ("readyReplicas", "currentReplicas", "updatedReplicas"):
        if not status[key]:
            del status[key]
    if before.get("conditions"):
        status["conditions"] = before["conditions"]
    later = [wait for wait in waits if wait]
    return status, min(later) if later else None


def _is_going(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def _runs(pod: Object) -> bool:
    return bool(pod.get("status", {}).get("phase") == "Running" and is_ready(pod))


def _available_in(world: _World, pod: Object) -> float | None:
    if not _runs(pod) or condition(pod, "Ready") is None:
        return None
    return available_in(pod, world.stateful_set["spec"].get("minReadySeconds", 0), world.now)
