"""Endpoints and EndpointSlices: for each Service with a selector, the pods that answer for it.

`decide` is pure: Service and pods to the endpoints of each. Source: `pkg/controller/endpointslice`, KEP-752, KEP-1672.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from weft.api.gvr import ENDPOINTS, ENDPOINTSLICES, PODS, SERVICES
from weft.api.selectors import LabelSelector
from weft.api.status import ApiError
from weft.client.base import Object
from weft.client.informer import Key, key_of
from weft.controllers.pods import is_ready
from weft.controllers.runner import Context, enqueue, owner_reference
from weft.core.workqueue import WorkQueue

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_HEADLESS = "service.kubernetes.io/headless"
_MAX_ENDPOINTS = 100  # a slice, as Kubernetes cuts them
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


@dataclass(frozen=True, slots=True)
class Member:
    """A pod that answers for a service; `ready` is what makes clients use it, `serving` whether it could."""

    pod: Object
    ready: bool
    serving: bool
    terminating: bool
    hostname: str


PortsKey = tuple[tuple[str, str, int], ...]  # (name, protocol, number) of each


def decide(service: Object, pods: Sequence[Object]) -> tuple[list[Object], Object]:
    """(EndpointSlices, Endpoints) of a service, given the pods that its selector picks."""
    slices: list[Object] = []
    subsets: list[Object] = []
    for ports_key, members in sorted(_groups(service, pods).items(), key=lambda entry: entry[0]):
        ports: list[Object] = [{"name": name, "protocol": proto, "port": number} for name, proto, number in ports_key]
        endpoints = [_endpoint(member) for member in members]
        for start in range(0, len(endpoints), _MAX_ENDPOINTS):
            slices.append(_slice(service, len(slices), endpoints[start : start + _MAX_ENDPOINTS], ports))
        if subset := _subset(members, ports):
            subsets.append(subset)
    return slices or [_slice(service, 0, [], [])], _endpoints(service, subsets)


def _groups(service: Object, pods: Sequence[Object]) -> dict[PortsKey, list[Member]]:
    """Pods by what the service's ports mean on them: a named port may be another number on each."""
    publish = service["spec"].get("publishNotReadyAddresses", False)
    groups: dict[PortsKey, list[Member]] = {}
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        status = pod.get("status", {})
        if not status.get("podIP") or status.get("phase") in ("Succeeded", "Failed"):
            continue
        ports = tuple(
            (port.get("name", ""), port.get("protocol", "TCP"), number)
            for port in service["spec"].get("ports") or []
            if (number := target_port(port, pod)) is not None
        )
        serving, terminating = is_ready(pod), bool(pod["metadata"].get("deletionTimestamp"))
        named = pod["spec"].get("subdomain") == service["metadata"]["name"]
        hostname = pod["spec"].get("hostname", "") if named else ""
        ready = publish or (serving and not terminating)
        groups.setdefault(ports, []).append(Member(pod, ready, serving, terminating, hostname))
    return groups


def _endpoint(member: Member) -> Object:
    endpoint: Object = {
        "addresses": [member.pod["status"]["podIP"]],
        "conditions": {"ready": member.ready, "serving": member.serving, "terminating": member.terminating},
    }
    return endpoint | _where(member)


def _where(member: Member) -> Object:
    """What an endpoint and an address say alike."""
    metadata = member.pod["metadata"]
    reference = {"kind": "Pod"} | {name: metadata[name] for name in ("namespace", "name", "uid")}
    found: Object = {"targetRef": reference}
    if member.pod["spec"].get("nodeName"):
        found["nodeName"] = member.pod["spec"]["nodeName"]
    if member.hostname:
        found["hostname"] = member.hostname
    return found


def _subset(members: Sequence[Member], ports: Sequence[Object]) -> Object:
    """One entry of `subsets` of the older Endpoints; empty where it would have no address."""

    def addresses(of: Iterable[Member]) -> list[Object]:
        return [{"ip": member.pod["status"]["podIP"]} | _where(member) for member in of]

    subset = {
        "addresses": addresses(member for member in members if member.ready),
        "notReadyAddresses": addresses(member for member in members if not (member.ready or member.terminating)),
    }
    found: Object = {key: value for key, value in subset.items() if value}
    if found and ports:
        found["ports"] = [{key: value for key, value in port.items() if value != ""} for port in ports]
    return found


def _labels(service: Object) -> dict[str, str]:
    headless = {_HEADLESS: ""} if service["spec"].get("clusterIP") == "None" else {}
    return {**(service["metadata"].get("labels") or {}), **headless}


def _slice(service: Object, index: int, endpoints: list[Object], ports: list[Object]) -> Object:
    metadata = service["metadata"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{metadata['name']}-{index}",
            "namespace": metadata["namespace"],
            "labels": {**_labels(service), SERVICE_NAME: metadata["name"], MANAGED_BY: _MANAGER},
            "ownerReferences": [owner_reference(service, SERVICES, "Service")],
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": ports,
    }


def _endpoints(service: Object, subsets: list[Object]) -> Object:
    metadata = service["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": {**_labels(service), "endpoints.kubernetes.io/managed-by": "endpoint-controller"},
        },
        "subsets": subsets,
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
        self._endpoints.on_change(self._endpoints_changed)

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

    def _endpoints_changed(self, old: Object | None, new: Object | None) -> None:
        """Those that somebody deleted come again; what a service without selector has is its maker's."""
        if new is None and old is not None:
            self.queue.add(key_of(old))

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
        pods = self._pods.list(namespace, LabelSelector.from_labels(selector))
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
