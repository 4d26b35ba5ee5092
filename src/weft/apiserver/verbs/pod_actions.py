"""POST to a pod's binding (the scheduler's decision) and eviction (drain's request)."""

from weft.api.gvr import GVR
from weft.api.selectors import LabelSelector
from weft.api.status import ApiError, bad_request, conflict
from weft.apiserver import codec
from weft.apiserver.api import Api, Object
from weft.apiserver.request import Request
from weft.apiserver.verbs.delete import DeleteOptions, delete
from weft.apiserver.verbs.get import get
from weft.apiserver.writing import mutate
from weft.core.clock import rfc3339

PDBS = GVR("policy", "v1", "poddisruptionbudgets")
SUCCESS: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


async def bind(api: Api, request: Request, body: Object) -> Object:
    """Sets spec.nodeName once; 409 where the pod is bound or going."""
    node = (body.get("target") or {}).get("name")
    if not isinstance(node, str) or not node:
        raise bad_request("target.name is required: the node to bind the pod to")
    uid = (body.get("metadata") or {}).get("uid")
    now = rfc3339(api.clock.now())

    def produce(old: Object) -> Object:
        name = old["metadata"]["name"]
        if uid and uid != old["metadata"]["uid"]:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}"
            raise conflict("pods/binding", name, "", why)
        if "deletionTimestamp" in old["metadata"]:
            raise conflict("pods/binding", name, "", f"pod {name} is being deleted, cannot be assigned to a host")
        if old["spec"].get("nodeName"):
            why = f'pod {name} is already assigned to node "{old["spec"]["nodeName"]}"'
            raise conflict("pods/binding", name, "", why)
        new = codec.copied(old)
        new["metadata"].pop("resourceVersion")
        new["spec"]["nodeName"] = node
        new["metadata"].setdefault("annotations", {}).update((body.get("metadata") or {}).get("annotations") or {})
        conditions = new.setdefault("status", {}).setdefault("conditions", [])
        conditions[:] = [condition for condition in conditions if condition.get("type") != "PodScheduled"]
        conditions.append({"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now})
        return new

    await mutate(api, request, produce)
    return SUCCESS


async def evict(api: Api, request: Request, body: Object) -> Object:
    """Deletes the pod if every PodDisruptionBudget over it allows; 429 where one does not."""
    pod = get(api, request)
    rtype = api.kinds.by_gvr(PDBS)
    for budget in api.objects.each(rtype, request.namespace) if rtype is not None else ():
        selector = LabelSelector.from_json((budget.get("spec") or {}).get("selector"))
        if not selector.matches(pod["metadata"].get("labels")):
            continue
        if (budget.get("status") or {}).get("disruptionsAllowed", 0) <= 0:
            raise ApiError(
                "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.", code=429
            )
    await delete(api, request, DeleteOptions.read(body.get("deleteOptions"), {}))
    return SUCCESS
