"""Jobs: the selector of their pods, by the Job's own uid. Kubernetes's `pkg/registry/batch/job/strategy.go`."""

from weft.apiserver.api import Attributes

_UID = "batch.kubernetes.io/controller-uid"


def select_job_pods(attributes: Attributes) -> None:
    if attributes.which != ("batch", "jobs") or attributes.operation != "CREATE":
        return
    metadata, spec = attributes.obj["metadata"], attributes.obj.get("spec")
    template = spec.get("template") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or spec.get("manualSelector") or not isinstance(template, dict):
        return
    uid, name = metadata["uid"], metadata.get("name", "")
    names = {"batch.kubernetes.io/job-name": name, "job-name": name}
    own = {**names, _UID: uid, "controller-uid": uid}
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    labels |= own
    spec.setdefault("selector", {}).setdefault("matchLabels", {})[_UID] = uid
