"""Versions of a pod template as ControllerRevisions, of which `kubectl rollout history` and `undo` read.

In: a StatefulSet or DaemonSet and the revisions that it controls. Out: the revision of its present template, whether
that one must be created or takes a new number, and the old ones that may go.
Source: Kubernetes `pkg/controller/history`.
"""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from weft.api.gvr import CONTROLLERREVISIONS, GVR
from weft.api.status import ApiError
from weft.client.base import Client, Object
from weft.controllers.rollout import template_hash
from weft.controllers.runner import owner_reference

HASH_LABEL = "controller-revision-hash"


@dataclass(frozen=True, slots=True)
class Change:
    """`revision` is that of the present template; `write` says what is to be done for it first."""

    revision: Object
    write: str = ""  # create, renumber or nothing


def data_of(template: Object) -> Object:
    """What a revision keeps: a strategic merge patch that makes the owner's template this one."""
    return {"spec": {"template": {**template, "$patch": "replace"}}}


def template_of(revision: Object) -> Object:
    template = copy.deepcopy(revision["data"]["spec"]["template"])
    template.pop("$patch", None)
    found: Object = template
    return found


def ordered(revisions: Sequence[Object]) -> list[Object]:
    """From the oldest to the newest."""
    return sorted(
        revisions,
        key=lambda each: (each["revision"], each["metadata"].get("creationTimestamp", ""), each["metadata"]["name"]),
    )


def present(owner: Object, owner_gvr: GVR, revisions: Sequence[Object]) -> Change:
    """The revision of the owner's template: found, found again under a new number, or new."""
    known = ordered(revisions)
    data = data_of(owner["spec"]["template"])
    number = known[-1]["revision"] + 1 if known else 1
    equal = [each for each in known if each["data"] == data]
    if equal and equal[-1] is known[-1]:
        return Change(known[-1])
    if equal:
        return Change({**equal[-1], "revision": number}, "renumber")
    return Change(_new(owner, owner_gvr, data, number), "create")


def _new(owner: Object, owner_gvr: GVR, data: Object, number: int) -> Object:
    metadata, template = owner["metadata"], owner["spec"]["template"]
    digest = template_hash(template, (owner.get("status") or {}).get("collisionCount") or 0)
    labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: digest}
    own: Object = {
        "name": f"{metadata['name'][:223]}-{digest}",
        "namespace": metadata["namespace"],
        "labels": labels,
        "ownerReferences": [owner_reference(owner, owner_gvr, owner["kind"])],
    }
    if annotations := _annotations(metadata):
        own["annotations"] = annotations
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": own,
        "data": copy.deepcopy(data),
        "revision": number,
    }


def _annotations(metadata: Object) -> Object:
    """Those of the owner, `change-cause` among them, without what kubectl apply keeps there."""
    given = metadata.get("annotations") or {}
    return {key: value for key, value in given.items() if key != "kubectl.kubernetes.io/last-applied-configuration"}


def expired(revisions: Sequence[Object], live: Collection[str], limit: int) -> list[Object]:
    """The oldest of those that are not `live` (by name), beyond `limit`."""
    idle = [each for each in ordered(revisions) if each["metadata"]["name"] not in live]
    return idle[: max(0, len(idle) - limit)]


async def write(client: Client, change: Change) -> bool:
    """Does what `change` asks for; False where another object has the name already, which needs another hash."""
    if change.write == "renumber":
        await client.update(CONTROLLERREVISIONS, change.revision)
    elif change.write == "create":
        metadata = change.revision["metadata"]
        try:
            await client.create(CONTROLLERREVISIONS, change.revision, metadata["namespace"])
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            other = await client.get(CONTROLLERREVISIONS, metadata["name"], metadata["namespace"])
            # Ours, which the cache does not show yet, or a collision.
            return bool(
                other["data"] == change.revision["data"]
                and [each["uid"] for each in other["metadata"].get("ownerReferences") or []]
                == [each["uid"] for each in metadata["ownerReferences"]]
            )
    return True


async def prune(client: Client, revisions: Sequence[Object]) -> None:
    for each in revisions:
        metadata = each["metadata"]
        try:
            await client.delete(CONTROLLERREVISIONS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except ApiError as error:
            if error.code not in (404, 409):
                raise
