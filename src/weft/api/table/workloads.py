"""The rows of deployments and replica sets."""

from weft.api.selectors import LabelSelector
from weft.api.status import ApiError
from weft.api.table.printing import NONE, Cells, Object, created, name, prints


def _containers(template_owner: Object) -> tuple[str, str]:
    """The names and the images of the pod template's containers."""
    template = (template_owner.get("spec") or {}).get("template") or {}
    containers = (template.get("spec") or {}).get("containers") or ()
    return (
        ",".join(each.get("name", "") for each in containers),
        ",".join(each.get("image", "") for each in containers),
    )


def _selector(obj: Object) -> str:
    try:
        return str(LabelSelector.from_json((obj.get("spec") or {}).get("selector"))) or NONE
    except ApiError:
        return "<error>"


@prints(
    "apps",
    "Deployment",
    "Name|Ready|Up-to-date:integer|Available:integer|Age|+Containers|+Images|+Selector",
)
def deployment_row(obj: Object, now: float) -> Cells:
    status = obj.get("status") or {}
    desired = (obj.get("spec") or {}).get("replicas", 0)
    return [
        name(obj),
        f"{status.get('readyReplicas', 0)}/{desired}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        created(obj, now),
        *_containers(obj),
        _selector(obj),
    ]


@prints(
    "apps",
    "ReplicaSet",
    "Name|Desired:integer|Current:integer|Ready:integer|Age|+Containers|+Images|+Selector",
)
def replica_set_row(obj: Object, now: float) -> Cells:
    status = obj.get("status") or {}
    return [
        name(obj),
        (obj.get("spec") or {}).get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        created(obj, now),
        *_containers(obj),
        _selector(obj),
    ]
