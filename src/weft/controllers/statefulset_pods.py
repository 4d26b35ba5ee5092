"""The pods and volume claims of a StatefulSet as they should be: names, identity, storage, and who owns a claim.

Pure. Source: Kubernetes `pkg/controller/statefulset/stateful_set_utils.go`.
"""

import copy
import re

from weft.api.gvr import PODS, STATEFULSETS
from weft.client.base import Object
from weft.controllers.history import HASH_LABEL
from weft.controllers.podcontrol import from_template
from weft.controllers.runner import owner_reference

POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"
_NAME = re.compile(r"(.*)-([0-9]+)")


def ordinal_of(stateful_set: Object, pod: Object) -> int | None:
    """The pod's place in the set; None where its name is not one of the set's."""
    match = _NAME.fullmatch(pod["metadata"]["name"])
    if match is None or match[1] != stateful_set["metadata"]["name"] or str(int(match[2])) != match[2]:
        return None
    return int(match[2])


def first_ordinal(stateful_set: Object) -> int:
    return int((stateful_set["spec"].get("ordinals") or {}).get("start", 0))


def revision_of(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(HASH_LABEL, ""))


def claim_name(stateful_set: Object, template: Object, ordinal: int) -> str:
    return f"{template['metadata']['name']}-{stateful_set['metadata']['name']}-{ordinal}"


def new_pod(stateful_set: Object, template: Object, revision: str, ordinal: int) -> Object:
    """The pod of an ordinal, of a version of the template."""
    pod = from_template(stateful_set, STATEFULSETS, template, name=f"{stateful_set['metadata']['name']}-{ordinal}")
    with_identity(stateful_set, pod, ordinal)
    pod["metadata"]["labels"][HASH_LABEL] = revision
    pod["spec"]["hostname"] = pod["metadata"]["name"]
    if service := stateful_set["spec"].get("serviceName"):
        pod["spec"]["subdomain"] = service
    claims = [
        {
            "name": each["metadata"]["name"],
            "persistentVolumeClaim": {"claimName": claim_name(stateful_set, each, ordinal)},
        }
        for each in stateful_set["spec"].get("volumeClaimTemplates") or ()
    ]
    if claims:
        named = {each["name"] for each in claims}
        pod["spec"]["volumes"] = [*claims, *(v for v in pod["spec"].get("volumes") or () if v["name"] not in named)]
    return pod


def with_identity(stateful_set: Object, pod: Object, ordinal: int) -> None:
    """Writes the labels by which the pod is known."""
    labels = pod["metadata"].setdefault("labels", {})
    labels[POD_NAME_LABEL] = f"{stateful_set['metadata']['name']}-{ordinal}"
    labels[POD_INDEX_LABEL] = str(ordinal)


def identity_fixed(stateful_set: Object, pod: Object, ordinal: int) -> Object | None:
    """The pod with its labels put right; None where they are."""
    changed = copy.deepcopy(pod)
    with_identity(stateful_set, changed, ordinal)
    return changed if changed != pod else None


def new_claims(stateful_set: Object, ordinal: int) -> list[Object]:
    """The volume claims of an ordinal."""
    metadata, selector = stateful_set["metadata"], stateful_set["spec"]["selector"]
    found = []
    for template in stateful_set["spec"].get("volumeClaimTemplates") or ():
        given = template["metadata"]
        claim: Object = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": claim_name(stateful_set, template, ordinal),
                "namespace": metadata["namespace"],
                "labels": {**(given.get("labels") or {}), **(selector.get("matchLabels") or {})},
            },
            "spec": copy.deepcopy(template["spec"]),
        }
        if given.get("annotations"):
            claim["metadata"]["annotations"] = dict(given["annotations"])
        if _policy(stateful_set)[0] == "Delete":
            claim["metadata"]["ownerReferences"] = [owner_reference(stateful_set, STATEFULSETS, "StatefulSet")]
        found.append(claim)
    return found


def claim_owned(stateful_set: Object, claim: Object, pod: Object, *, condemned: bool) -> Object | None:
    """The claim with the owners that the retention policy asks for; None where it has them.

    A claim that is to go with the set is owned by the set; one that is to go when the set shrinks is owned by its pod
    as soon as that one has to go.
    """
    when_deleted, when_scaled = _policy(stateful_set)
    by_pod = condemned and when_scaled == "Delete"
    by_set = when_deleted == "Delete" and not by_pod
    ours = {stateful_set["metadata"]["uid"], pod["metadata"]["uid"]}
    given = claim["metadata"].get("ownerReferences") or []
    owners = [each for each in given if each["uid"] not in ours and not _of_same_name(each, stateful_set, pod)]
    if by_set:
        owners.append(owner_reference(stateful_set, STATEFULSETS, "StatefulSet"))
    if by_pod:
        owners.append(owner_reference(pod, PODS, "Pod"))
    if {each["uid"] for each in owners} == {each["uid"] for each in given}:
        return None
    return {**claim, "metadata": {**claim["metadata"], "ownerReferences": owners}}


def _of_same_name(reference: Object, *objects: Object) -> bool:
    """An earlier set or pod of the name, whose claims are ours now."""
    return any((reference["kind"], reference["name"]) == (each["kind"], each["metadata"]["name"]) for each in objects)


def _policy(stateful_set: Object) -> tuple[str, str]:
    given = stateful_set["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    return given.get("whenDeleted", "Retain"), given.get("whenScaled", "Retain")
