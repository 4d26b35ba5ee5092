"""POST to a pod's eviction: a deletion that asks the PodDisruptionBudgets first.

In: an Eviction of policy/v1. Out: the pod is being deleted, or 429 where a budget forbids it now. A granted eviction
is taken off the budget's status in the same breath, so that two that come together do not both pass.
Source: kubernetes `pkg/registry/core/pod/storage/eviction.go`.
"""

from weft.api.gvr import PODDISRUPTIONBUDGETS
from weft.api.selectors import LabelSelector
from weft.api.status import ApiError, Cause
from weft.apiserver import codec
from weft.apiserver.api import Api, Object
from weft.apiserver.request import Request
from weft.apiserver.verbs.delete import DeleteOptions, delete
from weft.apiserver.verbs.get import get
from weft.apiserver.writing import mutate
from weft.core.clock import rfc3339

SUCCESS: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
_TOO_MANY_DISRUPTED = 2000
_TWO = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."


async def evict(api: Api, request: Request, body: Object) -> Object:
    """Raises ApiError: 404, 409, 429, 500 where more than one budget is over the pod."""
    pod = get(api, request)
    options = DeleteOptions.read(body.get("deleteOptions"), {})
    request.dry_run = request.dry_run or options.dry_run
    rtype = api.kinds.by_gvr(PODDISRUPTIONBUDGETS)
    if rtype is not None and _needs_asking(pod):
        budgets = [each for each in api.objects.each(rtype, request.namespace) if _covers(each, pod)]
        if len(budgets) > 1:
            raise ApiError("InternalError", _TWO)
        if budgets and (_ready(pod) or not _spares_unhealthy(budgets[0])):
            await _take(api, request, Request(rtype, request.namespace, budgets[0]["metadata"]["name"], "status"))
    await _mark(api, request)
    await delete(api, request, options)
    return SUCCESS


def _needs_asking(pod: Object) -> bool:
    """A pod that has ended, has not begun or is going anyway disrupts nobody."""
    phase = (pod.get("status") or {}).get("phase")
    return phase not in ("Succeeded", "Failed", "Pending") and "deletionTimestamp" not in pod["metadata"]


def _covers(budget: Object, pod: Object) -> bool:
    selector = (budget.get("spec") or {}).get("selector")
    return selector is not None and LabelSelector.from_json(selector).matches(pod["metadata"].get("labels"))


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _spares_unhealthy(budget: Object) -> bool:
    """Whether a pod that is not ready may go without being counted."""
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    return bool(healthy >= desired > 0)


async def _mark(api: Api, request: Request) -> None:
    """The condition by which a Job's failure policy knows that the pod did not fail by itself."""
    now = rfc3339(api.clock.now())
    why = {"reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}

    def produce(old: Object) -> Object:
        new = codec.copied(old)
        new["metadata"].pop("resourceVersion")
        status = new.setdefault("status", {})
        others = [each for each in status.get("conditions") or [] if each["type"] != "DisruptionTarget"]
        entry = {"type": "DisruptionTarget", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
        status["conditions"] = [*others, entry | why]
        return new

    at = Request(request.rtype, request.namespace, request.name, "status", request.user)
    at.dry_run = request.dry_run
    await mutate(api, at, produce)


async def _take(api: Api, eviction: Request, at: Request) -> None:
    """Takes one disruption off the budget; raises ApiError 429 where there is none."""
    at.dry_run = eviction.dry_run

    def produce(old: Object) -> Object:
        _check(old)
        new = codec.copied(old)
        new["metadata"].pop("resourceVersion")
        status = new["status"]
        status["disruptionsAllowed"] -= 1
        status.setdefault("disruptedPods", {})[eviction.name] = rfc3339(api.clock.now())
        return new

    await mutate(api, at, produce)


def _check(budget: Object) -> None:
    metadata, status = budget["metadata"], budget.get("status") or {}
    name = metadata["name"]
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        raise _refused(f"The disruption budget {name} is still being processed by the server.")
    if len(status.get("disruptedPods") or ()) > _TOO_MANY_DISRUPTED:
        raise ApiError("Forbidden", f"pod disruption budget {name} has too many pending evictions")
    if status.get("disruptionsAllowed", 0) > 0:
        return
    for each in status.get("conditions") or ():
        if each.get("reason") == "SyncFailed":
            why = "does not allow evicting pods currently because it failed sync"
            raise _refused(f"The disruption budget {name} {why}: {each.get('message', '')}")
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    raise _refused(f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")


def _refused(why: str) -> ApiError:
    return ApiError(
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
        causes=[Cause("DisruptionBudget", why)],
    )
