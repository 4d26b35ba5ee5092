"""The rows of persistent volumes and of claims to them."""

from weft.api.table.printing import UNSET, Cells, Object, created, name, prints

_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _access_modes(modes: list[str] | None) -> str:
    return ",".join(short for mode, short in _MODES.items() if mode in (modes or ()))


def _class(spec: Object, obj: Object) -> str:
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get("volume.beta.kubernetes.io/storage-class") or spec.get("storageClassName") or "")


@prints(
    "",
    "PersistentVolume",
    "Name|Capacity|Access Modes|Reclaim Policy|Status|Claim|StorageClass|VolumeAttributesClass|Reason|Age|+VolumeMode",
)
def volume_row(obj: Object, now: float) -> Cells:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    claim = spec.get("claimRef")
    going = (obj.get("metadata") or {}).get("deletionTimestamp")
    return [
        name(obj),
        (spec.get("capacity") or {}).get("storage", ""),
        _access_modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        "Terminating" if going else status.get("phase", ""),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _class(spec, obj),
        spec.get("volumeAttributesClassName") or UNSET,
        status.get("reason", ""),
        created(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


@prints(
    "",
    "PersistentVolumeClaim",
    "Name|Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age|+VolumeMode",
)
def claim_row(obj: Object, now: float) -> Cells:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    bound = bool(spec.get("volumeName"))
    going = (obj.get("metadata") or {}).get("deletionTimestamp")
    return [
        name(obj),
        "Terminating" if going else status.get("phase", ""),
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "") if bound else "",
        _access_modes(status.get("accessModes")) if bound else "",
        _class(spec, obj),
        spec.get("volumeAttributesClassName") or UNSET,
        created(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


@prints("storage.k8s.io", "StorageClass", "Name|Provisioner|ReclaimPolicy|VolumeBindingMode|AllowVolumeExpansion|Age")
def class_row(obj: Object, now: float) -> Cells:
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    default = annotations.get("storageclass.kubernetes.io/is-default-class") == "true"
    return [
        f"{name(obj)} (default)" if default else name(obj),
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy") or "Delete",
        obj.get("volumeBindingMode") or UNSET,
        "true" if obj.get("allowVolumeExpansion") else "false",
        created(obj, now),
    ]
