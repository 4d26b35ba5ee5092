"""What every cluster has from the start: namespaces, default service accounts, the service `kubernetes`, priorities.

In: an API with nothing or something in it. Out: the same objects, made where missing. Further namespaces get their
service account from a controller.
"""

import ipaddress
from typing import Any

from weft.api.gvr import ENDPOINTS, ENDPOINTSLICES, GVR, NAMESPACES, SERVICEACCOUNTS, SERVICES
from weft.api.status import ApiError
from weft.apiserver.admission.pod import PRIORITYCLASSES, SYSTEM_PRIORITIES
from weft.apiserver.api import Api
from weft.apiserver.authorization.defaults import defaults as rbac_defaults
from weft.apiserver.local import LocalClient

Object = dict[str, Any]
_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


async def ensure(client: LocalClient, api: Api) -> None:
    """Makes what is missing; what is there stays as it is, but for where the service `kubernetes` leads to."""
    for name in _NAMESPACES:
        await make(client, NAMESPACES, {"metadata": {"name": name}})
        await make(client, SERVICEACCOUNTS, {"metadata": {"name": "default"}}, name)
    if api.kinds.by_gvr(PRIORITYCLASSES) is not None:
        for name, value in SYSTEM_PRIORITIES.items():
            text = f"Used for system critical pods ({name})."
            await make(client, PRIORITYCLASSES, {"metadata": {"name": name}, "value": value, "description": text})
    for gvr, obj in rbac_defaults():
        await make(client, gvr, obj)
    await point_here(client, api)


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


async def renew(client: LocalClient, gvr: GVR, obj: Object, namespace: str | None = None) -> None:
    """Gives the present object of this name `obj`'s content; another server may do so at the same time."""
    content = {key: value for key, value in obj.items() if key != "metadata"}
    for attempt in range(10):
        present = await client.get(gvr, obj["metadata"]["name"], namespace)
        try:
            await client.update(gvr, {**present, **content})
            return
        except ApiError as error:
            if error.reason != "Conflict" or attempt == 9:
                raise


async def point_here(client: LocalClient, api: Api) -> None:
    """`kubernetes` in `default`, at the first service address, leads to this API server; changes nothing if it does."""
    settings = api.settings
    labels = {"component": "apiserver", "provider": "kubernetes"}
    port = {"name": "https", "port": 443, "protocol": "TCP", "targetPort": settings.api_port}
    service = {
        "metadata": {"name": "kubernetes", "labels": labels},
        "spec": {"clusterIP": str(ipaddress.ip_network(settings.service_subnet)[1]), "ports": [port]},
    }
    await make(client, SERVICES, service, "default")
    moved = {"spec": {"ports": [port]}}
    await client.patch(SERVICES, "kubernetes", moved, "application/merge-patch+json", "default")
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
        await renew(client, gvr, obj, "default")
