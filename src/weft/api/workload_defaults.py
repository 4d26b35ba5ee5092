"""The defaults of workload kinds beside Deployment and ReplicaSet, as rows for `weft.api.defaults`.

Source: kubernetes `pkg/apis/{apps,batch,core}/v1/defaults.go`.
"""

from collections.abc import Callable
from typing import Any

Object = dict[str, Any]

VALUES: dict[str, Object] = {
    "StatefulSetSpec": {"podManagementPolicy": "OrderedReady", "replicas": 1, "revisionHistoryLimit": 10},
    "StatefulSetPersistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
    "StatefulSetStatus": {"replicas": 0, "availableReplicas": 0},
    "DaemonSetSpec": {"revisionHistoryLimit": 10},
    "DaemonSetStatus": {
        "currentNumberScheduled": 0,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 0,
        "numberReady": 0,
    },
    "ReplicationControllerSpec": {"replicas": 1},
    "ReplicationControllerStatus": {"replicas": 0},
    "PodFailurePolicyOnPodConditionsPattern": {"status": "True"},
    "CronJobSpec": {
        "concurrencyPolicy": "Allow",
        "suspend": False,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 1,
    },
    "PersistentVolumeSpec": {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"},
    "PersistentVolumeClaimSpec": {"volumeMode": "Filesystem"},
    "StorageClass": {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
    "NetworkPolicyPort": {"protocol": "TCP"},
    "PodDisruptionBudgetStatus": {
        "disruptionsAllowed": 0,
        "currentHealthy": 0,
        "desiredHealthy": 0,
        "expectedPods": 0,
    },
}

# Kinds that always show a spec and a status.
KINDS = frozenset({"StatefulSet", "DaemonSet", "ReplicationController", "Job", "CronJob", "PodDisruptionBudget"})
_MAX_INT32 = 2**31 - 1


def _stateful_set_spec(spec: Object) -> None:
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    for claim in spec.get("volumeClaimTemplates") or ():
        claim.setdefault("apiVersion", "v1")
        claim.setdefault("kind", "PersistentVolumeClaim")
        claim.setdefault("status", {}).setdefault("phase", "Pending")


def _daemon_set_spec(spec: Object) -> None:
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)


def _labels_of_template(obj: Object) -> dict[str, str]:
    """The object gets its template's labels where it has none of its own; the template's labels."""
    template = (obj.get("spec") or {}).get("template") or {}
    labels = dict((template.get("metadata") or {}).get("labels") or {})
    metadata = obj.setdefault("metadata", {})
    if labels and not metadata.get("labels"):
        metadata["labels"] = dict(labels)
    return labels


def _replication_controller(obj: Object) -> None:
    labels = _labels_of_template(obj)
    if labels and not obj["spec"].get("selector"):
        obj["spec"]["selector"] = labels


def _job(obj: Object) -> None:
    """On the kind, not on JobSpec: the template of a CronJob stays as it was written."""
    _labels_of_template(obj)
    spec = obj["spec"]
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 6 if spec.get("backoffLimitPerIndex") is None else _MAX_INT32)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    spec.setdefault("podReplacementPolicy", "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed")


def _network_policy_spec(spec: Object) -> None:
    """pkg/apis/networking/v1/defaults.go: ingress always, egress where it has rules."""
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


RULES: dict[str, Callable[[Object], None]] = {
    "StatefulSetSpec": _stateful_set_spec,
    "DaemonSetSpec": _daemon_set_spec,
    "ReplicationController": _replication_controller,
    "Job": _job,
    "NetworkPolicySpec": _network_policy_spec,
}
