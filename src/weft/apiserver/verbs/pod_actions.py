"""POST to a pod's binding: the scheduler's decision."""

from weft.api.status import bad_request, conflict
from weft.apiserver import codec
from weft.apiserver.api import Api, Object
from weft.apiserver.request import Request
from weft.apiserver.writing import mutate
from weft.core.clock import rfc3339

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
