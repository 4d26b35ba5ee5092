"""Endpoints and EndpointSlices: for each Service with a selector, the pods that answer for it.

`decide` is pure: Service and pods to the endpoints of each. Source: `pkg/controller/endpointslice`, KEP-752, KEP-1672.
"""

from collections.abc import Sequence
from typing import Any

from weft.api.gvr import ENDPOINTS, ENDPOINTSLICES, PODS, SERVICES
from weft.api.status import ApiError
from weft.client.base import Object
from weft.client.informer import Key
from weft.controllers.pods import is_ready
from weft.controllers.runner import Context, enqueue, owner_reference
from weft.core.workqueue import WorkQueue

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_MANAGER = "endpointslice-controller.k8s.io"


def target_port(port: Object, pod: Object) -> int | None:
    """The number that a service port means on this pod; None where a named port is not there."""
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    for container in pod["spec"].get("containers") or []:
        for entry in container.get("ports") or []:
            if entry.get("name") == target and entry.get("protocol", "TCP") == port.get("protocol", "TCP"):
                return int(entry["containerPort"])
    return None


def decide(service: Object, pods: Sequence[Object]) -> tuple[list[Object], Object]:
    """(EndpointSlices, Endpoints) of a service, given the pods that its selector picks."""
    metadata = service["metadata"]
    publish = service["spec"].get("publishNotReadyAddresses", False)
    groups: dict[tuple[tuple[str, str, int], ...], list[tuple[Object, bool, bool]]] = {}
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        status = pod.get("status", {})
        if not status.get("podIP") or status.get("phase") in ("Succeeded", "Failed"):
            continue
        ports = []
        for port in service["spec"].get("ports") or []:
            number = target_port(port, pod)
            if number is not None:
                ports.append((port.get("name", ""), port.get("protocol", "TCP"), number))
        terminating = bool(pod["metadata"].get("deletionTimestamp"))
        groups.setdefault(tuple(ports), []).append((pod, is_ready(pod), terminating))
    slices, subsets = [], []
    for index, (ports_key, members) in enumerate(sorted(groups.items())):
        port_list = [{"name": name, "protocol": protocol, "port": number} for name, protocol, number in ports_key]
        endpoints = []
        ready_addresses, other_addresses = [], []
        for pod, ready, terminating in members:
            reference = {
                "kind": "Pod",
                "namespace": metadata["namespace"],
                "name": pod["metadata"]["name"],
                "uid": pod["metadata"]["uid"],
            }
            endpoint: Object = {
                "addresses": [pod["status"]["podIP"]],
                "conditions": {
                    "ready": publish or (ready and not terminating),
                    "serving": publish or ready,
                    "terminating": terminating,
                },
                "targetRef": reference,
            }
            address: Object = {"ip": pod["status"]["podIP"], "targetRef": reference}
            if pod["spec"].get("nodeName"):
                endpoint["nodeName"] = address["nodeName"] = pod["spec"]["nodeName"]
            if pod["spec"].get("hostname") and pod["spec"].get("subdomain") == metadata["name"]:
                endpoint["hostname"] = address["hostname"] = pod["spec"]["hostname"]
            endpoints.append(endpoint)
            if publish or (ready and not terminating):
                ready_addresses.append(address)
            elif not terminating:
                other_addresses.append(address)
        slices.append(_slice(service, f"{metadata['name']}-{index}", endpoints, port_list))
        subset: Object = {"ports": [{k: v for k, v in port.items() if v != ""} for port in port_list]}
        if ready_addresses:
            subset["addresses"] = ready_addresses
        if other_addresses:
            subset["notReadyAddresses"] = other_addresses
        if ready_addresses or other_addresses:
            subsets.append(subset)
    if not slices:
        slices.append(_slice(service, f"{metadata['name']}-0", [], []))
    endpoints_object: Object = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": {**(metadata.get("labels") or {}), "endpoints.kubernetes.io/managed-by": "endpoint-controller"},
        },
        "subsets": subsets,
    }
    return slices, endpoints_object


def _slice(service: Object, name: str, endpoints: list[Object], ports: list[Any]) -> Object:
    metadata = service["metadata"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": {**(metadata.get("labels") or {}), SERVICE_NAME: metadata["name"], MANAGED_BY: _MANAGER},
            "ownerReferences": [owner_reference(service, SERVICES, "Service")],
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": ports,
    }


class EndpointSliceController:
    """The loop around `decide`; writes only what differs."""

    name = "endpointslice"

    def __init__(self, context: Context) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(context.clock)
        self._client = context.client
        self._services = context.informers.of(SERVICES)
        self._pods = context.informers.of(PODS)
        self._slices = context.informers.of(ENDPOINTSLICES)
        self._endpoints = context.informers.of(ENDPOINTS)
        self.informers = (self._services, self._pods, self._slices, self._endpoints)
        self._slices.add_index("service", _service_of)
        self._services.on_change(enqueue(self.queue))
        self._pods.on_change(self._pod_changed)
        self._slices.on_change(self._slice_changed)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and _matters(old) == _matters(new):
            return
        for pod in (old, new):
            if pod is None:
                continue
            labels = (pod["metadata"].get("labels") or {}).items()
            for service in self._services.list(pod["metadata"]["namespace"]):
                selector = service["spec"].get("selector")
                if selector and selector.items() <= labels:
                    self.queue.add((service["metadata"]["namespace"], service["metadata"]["name"]))

    def _slice_changed(self, old: Object | None, new: Object | None) -> None:
        for each in (old, new):
            if each is not None and (names := _service_of(each)):
                self.queue.add((each["metadata"]["namespace"], names[0].split("/", 1)[1]))

    async def reconcile(self, key: Key) -> None:
        namespace, name = key
        service = self._services.get(namespace, name)
        mine = {each["metadata"]["name"]: each for each in self._slices.by_index("service", f"{namespace}/{name}")}
        if service is None or service["metadata"].get("deletionTimestamp"):
            for each in mine:
                await self._forget(ENDPOINTSLICES, namespace, each)
            if self._endpoints.get(namespace, name) is not None and service is None:
                await self._forget(ENDPOINTS, namespace, name)
            return
        selector = service["spec"].get("selector")
        if not selector or service["spec"].get("type") == "ExternalName":
            return  # whoever made the service looks after its endpoints
        pods = [
            pod
            for pod in self._pods.list(namespace)
            if selector.items() <= (pod["metadata"].get("labels") or {}).items()
        ]
        slices, endpoints = decide(service, pods)
        for each in slices:
            await self._write(ENDPOINTSLICES, mine.pop(each["metadata"]["name"], None), each)
        for each in mine:
            await self._forget(ENDPOINTSLICES, namespace, each)
        await self._write(ENDPOINTS, self._endpoints.get(namespace, name), endpoints)

    async def _write(self, gvr: Any, present: Object | None, wanted: Object) -> None:
        if present is None:
            await self._client.create(gvr, wanted, wanted["metadata"]["namespace"])
            return
        body = {key: value for key, value in wanted.items() if key not in ("metadata", "apiVersion", "kind")}
        metadata = {key: wanted["metadata"][key] for key in ("labels", "ownerReferences") if key in wanted["metadata"]}
        same_body = all(_clean(present.get(key)) == _clean(value) for key, value in body.items())
        if same_body and all(present["metadata"].get(key) == value for key, value in metadata.items()):
            return
        await self._client.update(gvr, {**present, **body, "metadata": {**present["metadata"], **metadata}})

    async def _forget(self, gvr: Any, namespace: str, name: str) -> None:
        try:
            await self._client.delete(gvr, name, namespace)
        except ApiError as error:
            if error.code != 404:
                raise


def _service_of(each: Object) -> list[str]:
    labels = each["metadata"].get("labels") or {}
    if labels.get(MANAGED_BY) != _MANAGER or SERVICE_NAME not in labels:
        return []
    return [f"{each['metadata']['namespace']}/{labels[SERVICE_NAME]}"]


def _matters(pod: Object) -> Any:
    """What of a pod can change an endpoint."""
    status = pod.get("status", {})
    metadata = pod["metadata"]
    return (
        metadata.get("labels"),
        bool(metadata.get("deletionTimestamp")),
        status.get("podIP"),
        status.get("phase"),
        is_ready(pod),
        pod["spec"].get("nodeName"),
    )


def _clean(value: Any) -> Any:
    """Without empty members, which the API may or may not keep."""
    if isinstance(value, dict):
        return {key: _clean(each) for key, each in value.items() if each not in (None, "", [], {})}
    if isinstance(value, list):
        return [_clean(each) for each in value]
    return value
