"""What every cluster has from the start: namespaces, default service accounts, the service `kubernetes`, priorities.

In: an API with nothing or something in it. Out: the same objects, made where missing. The follower `DefaultAccounts`
gives each new namespace its service account `default` and the CA's certificate.
"""

import asyncio
import ipaddress
import logging
from typing import Any

from weft.api.gvr import CONFIGMAPS, ENDPOINTS, ENDPOINTSLICES, GVR, NAMESPACES, SERVICEACCOUNTS, SERVICES
from weft.api.status import ApiError
from weft.apiserver.admission.pod import PRIORITYCLASSES, SYSTEM_PRIORITIES
from weft.apiserver.api import Api
from weft.apiserver.cache import Change
from weft.apiserver.local import LocalClient
from weft.core.errors import WeftError

_log = logging.getLogger(__name__)
Object = dict[str, Any]
_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


async def ensure(client: LocalClient, api: Api, ca: str) -> None:
    """Makes what is missing; what is there stays as it is, but for the address of the service `kubernetes`."""
    for name in _NAMESPACES:
        await make(client, NAMESPACES, {"metadata": {"name": name}})
    await asyncio.gather(*(equip_namespace(client, name, ca) for name in _NAMESPACES))
    if api.kinds.by_gvr(PRIORITYCLASSES) is not None:
        for name, value in SYSTEM_PRIORITIES.items():
            text = f"Used for system critical pods ({name})."
            await make(client, PRIORITYCLASSES, {"metadata": {"name": name}, "value": value, "description": text})
    await _kubernetes_service(client, api)


async def equip_namespace(client: LocalClient, namespace: str, ca: str) -> None:
    await make(client, SERVICEACCOUNTS, {"metadata": {"name": "default"}}, namespace)
    await make(client, CONFIGMAPS, {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": ca}}, namespace)


async def make(client: LocalClient, gvr: GVR, obj: Object, namespace: str | None = None) -> None:
    """Creates an object if there is none of its name."""
    try:
        await client.get(gvr, obj["metadata"]["name"], namespace)
    except ApiError as error:
        if error.reason != "NotFound":
            raise
        try:
            await client.create(gvr, obj, namespace)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise


async def _kubernetes_service(client: LocalClient, api: Api) -> None:
    """`kubernetes` in `default`: the API server at the first service address."""
    settings = api.settings
    labels = {"component": "apiserver", "provider": "kubernetes"}
    port = {"name": "https", "port": 443, "protocol": "TCP", "targetPort": settings.api_port}
    service = {
        "metadata": {"name": "kubernetes", "labels": labels},
        "spec": {"clusterIP": str(ipaddress.ip_network(settings.service_subnet)[1]), "ports": [port]},
    }
    await make(client, SERVICES, service, "default")
    # Pods reach the host at the bridge; loopback would be their own.
    address = settings.gateway if settings.api_address in ("127.0.0.1", "0.0.0.0") else settings.api_address
    target = {"name": "https", "port": settings.api_port, "protocol": "TCP"}
    endpoints = {
        "metadata": {"name": "kubernetes", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": address}], "ports": [target]}],
    }
    endpoint_slice = {
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [target],
    }
    for gvr, obj in ((ENDPOINTS, endpoints), (ENDPOINTSLICES, endpoint_slice)):
        await make(client, gvr, obj, "default")
        present = await client.get(gvr, "kubernetes", "default")
        await client.update(gvr, {**present, **{k: v for k, v in obj.items() if k != "metadata"}})


class DefaultAccounts:
    """Equips namespaces as they come, and again where someone deleted what every namespace has."""

    def __init__(self, api: Api, client: LocalClient, ca: str) -> None:
        self._api = api
        self._client = client
        self._ca = ca
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        for gvr in (NAMESPACES, SERVICEACCOUNTS, CONFIGMAPS):
            rtype = self._api.kinds.by_gvr(gvr)
            assert rtype is not None
            self._api.objects.hub(rtype).listeners.append(self._on_change)
        namespaces = self._api.kinds.by_gvr(NAMESPACES)
        assert namespaces is not None
        for namespace in self._api.objects.each(namespaces):
            self._equip(namespace["metadata"]["name"])

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_change(self, change: Change) -> None:
        parts = change.key.split("/")
        resource, namespace, name = parts[3], parts[4], parts[-1]
        lost = (resource, name) in (("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt"))
        if (change.type == "ADDED" and resource == "namespaces") or (change.type == "DELETED" and lost):
            self._equip(namespace)

    def _equip(self, namespace: str) -> None:
        task = asyncio.create_task(self._try(namespace), name=f"equip-namespace-{namespace}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _try(self, namespace: str) -> None:
        try:
            await equip_namespace(self._client, namespace, self._ca)
        except ApiError as error:
            if error.reason not in ("NotFound", "Forbidden"):  # the namespace is gone, or going
                _log.error("cannot equip a namespace", extra={"namespace": namespace, "error": error.message})
        except WeftError as error:
            _log.error("cannot equip a namespace", extra={"namespace": namespace, "error": str(error)})
