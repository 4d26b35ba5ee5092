"""The Node object and its heartbeats: a Lease every ten seconds, the status whenever it differs.

In: what the machine has. Out: a Node that the scheduler gives pods to. What others wrote on it (labels, taints,
cordons) stays. Source: kubernetes `pkg/kubelet/kubelet_node_status.go`, KEP-589.
"""

import asyncio
import logging
from typing import Any

from weft import __version__
from weft.api.gvr import GVR, NODES
from weft.api.status import ApiError
from weft.client.base import Client, Object
from weft.core.clock import Clock, rfc3339, rfc3339_micro
from weft.core.errors import WeftError
from weft.core.settings import Settings
from weft.node import machine

logger = logging.getLogger(__name__)

LEASES = GVR("coordination.k8s.io", "v1", "leases")
LEASE_NAMESPACE = "kube-node-lease"
HEARTBEAT_SECONDS = 10.0
ENDPOINT = "weft.dev/kubelet-endpoint"
_LEASE_SECONDS = 40
# The status is written again after this long even if nothing but its heartbeat changed.
_STATUS_SECONDS = 300.0


class Registration:
    """Registers and keeps alive one node."""

    def __init__(self, settings: Settings, client: Client, clock: Clock, facts: machine.Machine, address: str) -> None:
        self._settings, self._client, self._clock = settings, client, clock
        self._facts, self._address = facts, address
        self._written_at = 0.0

    async def run(self) -> None:
        """Registers, then beats until cancelled; what fails is tried again at the next beat, first ones sooner."""
        delay = 0.05
        while True:
            try:
                await self._beat()
                delay = HEARTBEAT_SECONDS
            except WeftError as error:
                logger.warning("cannot report node %s: %s", self._settings.node_name, error)
                delay = min(delay * 2, HEARTBEAT_SECONDS)
            await asyncio.sleep(delay)

    async def _beat(self) -> None:
        await self._report()
        await self._renew()

    async def _report(self) -> None:
        name = self._settings.node_name
        try:
            node = await self._client.get(NODES, name)
        except ApiError as error:
            if error.code != 404:
                raise
            node = await self._client.create(NODES, self._node())
            logger.info("registered node %s", name)
            self._written_at = 0.0
        metadata: Object = {}
        for field in ("labels", "annotations"):
            wanted, present = self._node()["metadata"][field], node["metadata"].get(field) or {}
            if any(present.get(key) != value for key, value in wanted.items()):
                metadata[field] = wanted
        if metadata:
            await self._client.patch(NODES, name, {"metadata": metadata}, "application/merge-patch+json")
        old = node.get("status") or {}
        status = self._status(old)
        now = self._clock.now()
        if _without_beats(old) == _without_beats(status) and now - self._written_at < _STATUS_SECONDS:
            return
        await self._client.patch(
            NODES, name, {"status": status}, "application/strategic-merge-patch+json", subresource="status"
        )
        self._written_at = now

    async def _renew(self) -> None:
        name = self._settings.node_name
        spec = {
            "holderIdentity": name,
            "leaseDurationSeconds": _LEASE_SECONDS,
            "renewTime": rfc3339_micro(self._clock.now()),
        }
        try:
            await self._client.patch(LEASES, name, {"spec": spec}, "application/merge-patch+json", LEASE_NAMESPACE)
        except ApiError as error:
            if error.code != 404:
                raise
            metadata = {"name": name, "namespace": LEASE_NAMESPACE}
            await self._client.create(LEASES, {"metadata": metadata, "spec": spec}, LEASE_NAMESPACE)

    def _node(self) -> Object:
        name = self._settings.node_name
        architecture = self._facts.architecture
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": architecture,
                    "beta.kubernetes.io/os": "linux",
                    "beta.kubernetes.io/arch": architecture,
                },
                "annotations": {ENDPOINT: f"https://127.0.0.1:{self._settings.kubelet_port}"},
            },
            "spec": {},
        }

    def _status(self, old: Object) -> Object:
        facts, now = self._facts, rfc3339(self._clock.now())
        short = machine.pressure(self._settings.paths.lib)
        words = ("sufficient", "insufficient")
        known = {each.get("type"): each for each in old.get("conditions") or []}

        def condition(kind: str, value: bool, reason: str, message: str) -> Object:
            status = "True" if value else "False"
            before = known.get(kind) or {}
            since = before.get("lastTransitionTime") if before.get("status") == status else None
            return {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": now,
                "lastTransitionTime": since or now,
            }

        conditions = [
            condition(kind, value, f"KubeletHas{reasons[value]}", f"kubelet has {words[value]} {what} available")
            for kind, value, reasons, what in (
                ("MemoryPressure", short.memory, ("SufficientMemory", "InsufficientMemory"), "memory"),
                ("DiskPressure", short.disk, ("NoDiskPressure", "DiskPressure"), "disk space"),
                ("PIDPressure", short.pids, ("SufficientPID", "InsufficientPID"), "PID"),
            )
        ]
        conditions += [
            condition("Ready", True, "KubeletReady", "kubelet is posting ready status"),
        ]
        return {
            "capacity": facts.capacity(),
            "allocatable": facts.allocatable(),
            "conditions": conditions,
            "addresses": [
                {"type": "InternalIP", "address": self._address},
                {"type": "Hostname", "address": self._settings.node_name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._settings.kubelet_port}},
            "nodeInfo": {
                "machineID": facts.machine_id,
                "systemUUID": facts.system_uuid,
                "bootID": facts.boot_id,
                "kernelVersion": facts.kernel,
                "osImage": facts.os_image,
                "containerRuntimeVersion": f"weft://{__version__}",
                "kubeletVersion": machine.KUBELET_VERSION,
                "kubeProxyVersion": machine.KUBELET_VERSION,
                "operatingSystem": "linux",
                "architecture": facts.architecture,
            },
        }


def _without_beats(status: Any) -> Any:
    """What of a node's status is worth a write of its own."""
    keys = ("capacity", "allocatable", "addresses", "daemonEndpoints", "nodeInfo")
    ours = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
    conditions = {
        each["type"]: (each.get("status"), each.get("reason"))
        for each in status.get("conditions") or []
        if each.get("type") in ours
    }
    return conditions, [status.get(key) for key in keys]
