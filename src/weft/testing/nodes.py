"""Nodes without machines: pods that are bound to them become Running and Ready, fail, end or go as a test says.

In: pods of the API, and `Behaviour`s by label. Out: Nodes, Leases, and pods' statuses, as a kubelet reports them, on
the cluster's own clock. Nothing is run and no probe is made: what a probe would say is a part of the behaviour.
"""

import asyncio
import contextlib
import copy
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from weft.api.gvr import GVR, NODES, PODS
from weft.api.status import ApiError
from weft.client.base import Client, Object
from weft.client.informer import Informers, Key, key_of
from weft.core.clock import Clock, rfc3339, rfc3339_micro
from weft.core.tasks import Tasks
from weft.core.workqueue import WorkQueue

_LEASES = GVR("coordination.k8s.io", "v1", "leases")
_LEASE_NAMESPACE = "kube-node-lease"
_BEAT_SECONDS = 10.0
_MACHINE = {"cpu": "32", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "500"}

_NODE_INFO = (
    *("architecture", "bootID", "containerRuntimeVersion", "kernelVersion", "kubeProxyVersion"),
    *("kubeletVersion", "machineID", "operatingSystem", "osImage", "systemUUID"),
)


@dataclass(frozen=True)
class Behaviour:
    """How the containers of pods behave. Times are in seconds of the cluster's clock."""

    start_after: float = 0.0
    """From being bound to a node until the containers run."""
    ready: bool = True
    """What readiness probes say, or would say."""
    exit_code: int | None = None
    """With which code the containers end; None: they run on."""
    exit_after: float = 0.0
    """How long they run until then."""
    waiting: str = ""
    """Containers never start, for this reason, such as ImagePullBackOff."""
    stop_after: float = 0.0
    """From being asked to stop until gone."""


@dataclass(frozen=True)
class _Rule:
    labels: Mapping[str, str]
    behaviour: Behaviour


@dataclass
class _Local:
    """What the node remembers of a pod."""

    bound_at: float
    address: str
    restarts: int = 0
    started_at: float | None = None
    last_exit: Mapping[str, Any] | None = None
    stopping_since: float | None = None


class SimulatedNodes:
    """`count` nodes, or those of the given names. `run` works until cancelled."""

    def __init__(self, client: Client, clock: Clock, informers: Informers, nodes: int | tuple[str, ...]) -> None:
        self._client, self._clock = client, clock
        self.names = tuple(f"node-{n}" for n in range(nodes)) if isinstance(nodes, int) else nodes
        self._pods = informers.of(PODS)
        self._queue: WorkQueue[Key] = WorkQueue(clock)
        self._local: dict[str, _Local] = {}
        self._addresses = itertools.count(2)
        self._rules: list[_Rule] = []
        self._silent: set[str] = set()
        self.registered = asyncio.Event()
        self._pods.on_change(self._pod_changed)

    def behave(self, behaviour: Behaviour, labels: Mapping[str, str]) -> None:
        """From now on for all pods with these labels; a later call goes before an earlier one."""
        self._rules.insert(0, _Rule(dict(labels), behaviour))
        for pod in self._pods.list():
            self._queue.add(key_of(pod))

    def silence(self, name: str, *, silent: bool = True) -> None:
        """Lets a node fall silent, as one does that lost power, or come back."""
        (self._silent.add if silent else self._silent.discard)(name)
        for pod in self._pods.list():
            self._queue.add(key_of(pod))

    async def run(self) -> None:
        tasks = Tasks()
        try:
            for number, name in enumerate(self.names):
                await self._register(number, name)
            self.registered.set()
            for name in self.names:
                tasks.start(f"beat {name}", partial(self._beat, name))
            for _ in range(4):
                tasks.start("pods", self._work)
            await asyncio.Event().wait()
        finally:
            self._queue.close()
            await tasks.close()

    # Nodes

    async def _register(self, number: int, name: str) -> None:
        now = rfc3339(self._clock.now())
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        metadata = {"name": name, "labels": labels, "annotations": {"weft.dev/simulated": "true"}}
        with contextlib.suppress(ApiError):
            await self._client.create(NODES, {"metadata": metadata})
        status = {
            "capacity": _MACHINE,
            "allocatable": _MACHINE,
            "addresses": [
                {"type": "InternalIP", "address": f"192.0.2.{number % 250 + 1}"},
                {"type": "Hostname", "address": name},
            ],
            "conditions": [_condition("Ready", True, now, "KubeletReady") | {"lastHeartbeatTime": now}],
            "nodeInfo": dict.fromkeys(_NODE_INFO, "simulated"),
        }
        await self._client.patch(NODES, name, {"status": status}, "application/merge-patch+json", subresource="status")

    async def _beat(self, name: str) -> None:
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40}
        while True:
            if name not in self._silent:
                renewed = {"spec": spec | {"renewTime": rfc3339_micro(self._clock.now())}}
                try:
                    await self._client.patch(_LEASES, name, renewed, "application/merge-patch+json", _LEASE_NAMESPACE)
                except ApiError as error:
                    if error.code != 404:
                        raise
                    lease = renewed | {"metadata": {"name": name, "namespace": _LEASE_NAMESPACE}}
                    await self._client.create(_LEASES, lease, _LEASE_NAMESPACE)
                await self._ready_again(name)
            await self._clock.sleep(_BEAT_SECONDS)

    async def _ready_again(self, name: str) -> None:
        with contextlib.suppress(ApiError):
            node = copy.deepcopy(await self._client.get(NODES, name))
            conditions = node.setdefault("status", {}).setdefault("conditions", [])
            if any(each["type"] == "Ready" and each["status"] != "True" for each in conditions):
                now = rfc3339(self._clock.now())
                others = [each for each in conditions if each["type"] != "Ready"]
                node["status"]["conditions"] = [*others, _condition("Ready", True, now, "KubeletReady")]
                await self._client.update(NODES, node, subresource="status")

    # Pods

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None:
            self._local.pop(old["metadata"]["uid"], None)
        elif new is not None and new["spec"].get("nodeName") in self.names:
            self._queue.add(key_of(new))

    async def _work(self) -> None:
        await self._pods.synced()
        while (key := await self._queue.get()) is not None:
            try:
                await self._reconcile(key)
                self._queue.forget(key)
            except ApiError as error:
                if error.code != 404:
                    self._queue.retry(key)
            finally:
                self._queue.done(key)

    def _behaviour(self, pod: Object) -> Behaviour:
        labels = pod["metadata"].get("labels") or {}
        found = (rule for rule in self._rules if all(labels.get(key) == value for key, value in rule.labels.items()))
        rule = next(found, None)
        return rule.behaviour if rule else Behaviour()

    async def _reconcile(self, key: Key) -> None:
        pod = self._pods.get(*key)
        if pod is None or pod["spec"].get("nodeName") not in self.names or pod["spec"]["nodeName"] in self._silent:
            return
        now = self._clock.now()
        uid = pod["metadata"]["uid"]
        local = self._local.get(uid)
        if local is None:
            number = next(self._addresses)
            address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            local = self._local[uid] = _Local(now, address)
        behaviour = self._behaviour(pod)
        phase = (pod.get("status") or {}).get("phase")
        if pod["metadata"].get("deletionTimestamp"):
            if local.stopping_since is None:
                local.stopping_since = now
            left = local.stopping_since + behaviour.stop_after - now
            if left > 0:
                self._queue.add_after(key, left)
            else:
                await self._client.delete(PODS, key[1], key[0], uid=uid, grace_period_seconds=0)
            return
        if phase in ("Succeeded", "Failed"):
            return
        status, again = _next(pod, local, behaviour, now)
        if again is not None:
            self._queue.add_after(key, max(again, 0.001))
        if status != pod.get("status"):
            await self._client.update(PODS, {**pod, "status": status}, subresource="status")


def _next(pod: Object, local: _Local, behaviour: Behaviour, now: float) -> tuple[Object, float | None]:
    """The status as it is now, and after how long to look again; keeps in `local` what happened to the containers."""
    if behaviour.waiting:
        return _status(pod, local, "Pending", {"waiting": {"reason": behaviour.waiting}}, False, now), None
    if local.started_at is None:
        left = local.bound_at + behaviour.start_after - now
        if left > 0:
            phase, reason = ("Running", "CrashLoopBackOff") if local.restarts else ("Pending", "ContainerCreating")
            return _status(pod, local, phase, {"waiting": {"reason": reason}}, False, now), left
        local.started_at = now
    running = {"running": {"startedAt": rfc3339(local.started_at)}}
    if behaviour.exit_code is None:
        return _status(pod, local, "Running", running, behaviour.ready, now), None
    left = local.started_at + behaviour.exit_after - now
    if left > 0:
        return _status(pod, local, "Running", running, behaviour.ready, now), left
    code = behaviour.exit_code
    ended = {
        "terminated": {
            "exitCode": code,
            "reason": "Error" if code else "Completed",
            "startedAt": rfc3339(local.started_at),
            "finishedAt": rfc3339(now),
        }
    }
    policy = pod["spec"].get("restartPolicy", "Always")
    if policy == "Never" or (policy == "OnFailure" and code == 0):
        return _status(pod, local, "Failed" if code else "Succeeded", ended, False, now), None
    pause = min(10.0 * 2**local.restarts, 300.0)  # the kubelet's back-off
    local.restarts += 1
    local.last_exit = ended
    local.started_at, local.bound_at = None, now + pause - behaviour.start_after
    crashed = {"waiting": {"reason": "CrashLoopBackOff"}}
    return _status(pod, local, "Running", crashed, False, now), pause


def _status(pod: Object, local: _Local, phase: str, state: Object, ready: bool, now: float) -> Object:
    old = pod.get("status") or {}
    stamp = rfc3339(now)
    known = {each["type"]: each for each in old.get("conditions") or []}

    def condition(name: str, value: bool, reason: str = "") -> Object:
        made = _condition(name, value, stamp, reason)
        before = known.get(name)
        if before is not None and before["status"] == made["status"]:
            made["lastTransitionTime"] = before["lastTransitionTime"]
        return made

    done = phase == "Succeeded"
    reason = "PodCompleted" if done else "" if ready else "ContainersNotReady"
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or []]
    passed = all(known.get(gate, {}).get("status") == "True" for gate in gates)
    ours = {"PodScheduled", "Initialized", "ContainersReady", "Ready"}
    conditions = [
        condition("PodScheduled", True),
        condition("Initialized", True, reason if done else ""),
        condition("ContainersReady", ready, reason),
        condition("Ready", ready and passed, reason or ("" if passed else "ReadinessGatesNotReady")),
        *(each for each in old.get("conditions") or [] if each["type"] not in ours),
    ]
    containers = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "simulated",
            "ready": ready,
            "started": "running" in state,
            "restartCount": local.restarts,
            "state": state,
            "lastState": dict(local.last_exit or {}),
        }
        for container in pod["spec"]["containers"]
    ]
    status = {
        **old,
        "phase": phase,
        "conditions": conditions,
        "startTime": old.get("startTime") or stamp,
        "containerStatuses": containers,
    }
    if "waiting" not in state or local.restarts:
        status |= {"hostIP": "192.0.2.1", "podIP": local.address, "podIPs": [{"ip": local.address}]}
    return status


def _condition(name: str, value: bool, stamp: str, reason: str = "") -> Object:
    made: Object = {"type": name, "status": "True" if value else "False", "lastTransitionTime": stamp}
    return made | ({"reason": reason} if reason else {})
