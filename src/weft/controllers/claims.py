"""Which objects a controller's owner may call its own: by selector and controller reference, adopted and released.

In: an owner, its selector, and the objects that it owns or that nobody does. Out: those that are its own, those to
adopt, those to release. Source: Kubernetes `pkg/controller/controller_ref_manager.go`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from weft.api.gvr import GVR
from weft.api.selectors import LabelSelector
from weft.api.status import ApiError, conflict
from weft.client.base import Client, Object
from weft.controllers.runner import controller_of, owner_reference


@dataclass(frozen=True, slots=True)
class Claims:
    """`mine` and `adopt` together are what the owner works with."""

    mine: tuple[Object, ...] = ()
    adopt: tuple[Object, ...] = ()
    release: tuple[Object, ...] = ()


def without_controller(obj: Object) -> list[str]:
    """An index function: the namespace of an object that nobody controls."""
    return [] if controller_of(obj) else [obj["metadata"]["namespace"]]


def selector_of(owner: Object) -> LabelSelector:
    """The selector in an owner's spec; a ReplicationController's is a map of labels."""
    selector = owner["spec"]["selector"]
    is_map = owner.get("kind") == "ReplicationController"
    return LabelSelector.from_json({"matchLabels": selector} if is_map else selector)


def claim(owner: Object, candidates: Iterable[Object]) -> Claims:
    """Sorts `candidates` by what they are to `owner`, whose spec has the selector."""
    uid = owner["metadata"]["uid"]
    selector = selector_of(owner)
    deleting = bool(owner["metadata"].get("deletionTimestamp"))
    mine, adopt, release = [], [], []
    for obj in candidates:
        controller = controller_of(obj)
        matches = selector.matches(obj["metadata"].get("labels"))
        if controller is not None and controller["uid"] == uid:
            if matches:
                mine.append(obj)
            elif not deleting:
                release.append(obj)
        elif controller is None and matches and not deleting and not obj["metadata"].get("deletionTimestamp"):
            adopt.append(obj)
    return Claims(tuple(mine), tuple(adopt), tuple(release))


async def settle(client: Client, claims: Claims, owner: Object, owner_gvr: GVR, gvr: GVR) -> None:
    """Writes the references that `claims` asks for; raises ApiError, 409 where the owner is not what it was."""
    for obj in claims.release:
        await _write(client, gvr, obj, _others(obj))
    if not claims.adopt:
        return
    metadata = owner["metadata"]
    live = await client.get(owner_gvr, metadata["name"], metadata["namespace"])
    if live["metadata"]["uid"] != metadata["uid"] or live["metadata"].get("deletionTimestamp"):
        raise conflict(owner_gvr.resource, metadata["name"], owner_gvr.group, "it is gone or being deleted")
    for obj in claims.adopt:
        await _write(client, gvr, obj, [*_others(obj), owner_reference(owner, owner_gvr, owner["kind"])])


def _others(obj: Object) -> list[Object]:
    return [entry for entry in obj["metadata"].get("ownerReferences") or [] if not entry.get("controller")]


async def _write(client: Client, gvr: GVR, obj: Object, references: list[Object]) -> None:
    try:
        await client.update(gvr, {**obj, "metadata": {**obj["metadata"], "ownerReferences": references}})
    except ApiError as error:
        if error.code != 404:
            raise
