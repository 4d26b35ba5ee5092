"""The rows of controllers of pods that go on: deployments, replica, stateful and daemon sets, and their revisions."""

from weft.api.selectors import LabelSelector
from weft.api.status import ApiError
from weft.api.table.printing import NONE, Cells, Object, created, labels, name, prints


def containers(template_owner: Object) -> tuple[str, str]:
    """The names and the images of the pod template's containers."""
    template = (template_owner.get("spec") or {}).get("template") or {}
    containers = (template.get("spec") or {}).get("containers") or ()
    return (
        ",".join(each.get("name", "") for each in containers),
        ",".join(each.get("image", "") for each in containers),
    )


def selector(obj: Object) -> str:
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
        *containers(obj),
        selector(obj),
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
        *containers(obj),
        selector(obj),
    ]


@prints(
    "",
    "ReplicationController",
    "Name|Desired:integer|Current:integer|Ready:integer|Age|+Containers|+Images|+Selector",
)
def replication_controller_row(obj: Object, now: float) -> Cells:
    spec = dict(obj.get("spec") or {})
    return [*replica_set_row({**obj, "spec": {**spec, "selector": None}}, now)[:-1], labels(spec.get("selector"))]


@prints("apps", "StatefulSet", "Name|Ready|Age|+Containers|+Images")
def stateful_set_row(obj: Object, now: float) -> Cells:
    ready, wanted = (obj.get("status") or {}).get("readyReplicas", 0), (obj.get("spec") or {}).get("replicas", 0)
    return [name(obj), f"{ready}/{wanted}", created(obj, now), *containers(obj)]


@prints(
    "apps",
    "DaemonSet",
    "Name|Desired:integer|Current:integer|Ready:integer|Up-to-date:integer|Available:integer|Node Selector|Age"
    "|+Containers|+Images|+Selector",
)
def daemon_set_row(obj: Object, now: float) -> Cells:
    status = obj.get("status") or {}
    template = (obj.get("spec") or {}).get("template") or {}
    return [
        name(obj),
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        labels((template.get("spec") or {}).get("nodeSelector")),
        created(obj, now),
        *containers(obj),
        selector(obj),
    ]


@prints("apps", "ControllerRevision", "Name|Controller|Revision:integer|Age")
def controller_revision_row(obj: Object, now: float) -> Cells:
    owners = (obj.get("metadata") or {}).get("ownerReferences") or ()
    owner = next((each for each in owners if each.get("controller")), None)
    shown = NONE
    if owner is not None:
        group = owner["apiVersion"].rpartition("/")[0]
        shown = f"{owner['kind'].lower()}{'.' if group else ''}{group}/{owner['name']}"
    return [name(obj), shown, obj.get("revision", 0), created(obj, now)]


@prints("", "PodTemplate", "Name|Containers|Images|Pod Labels")
def pod_template_row(obj: Object, now: float) -> Cells:
    template = obj.get("template") or {}
    return [name(obj), *containers({"spec": obj}), labels((template.get("metadata") or {}).get("labels"))]


@prints("autoscaling", "Scale", "Name|Desired:integer|Available:integer|Age")
def scale_row(obj: Object, now: float) -> Cells:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [name(obj), spec.get("replicas", 0), status.get("replicas", 0), created(obj, now)]
