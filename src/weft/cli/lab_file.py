"""Lab files: a Topology, and the RoutingPolicies that its routers name; from a file, and into the API.

In: a file. Out: its documents, checked as the API server would, and objects that a client writes. Policies of a file
belong to its Topology: they go with it, and one that the file no longer has goes when the file is brought up again.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from weft.client.base import Client, Object
from weft.core.errors import InvalidError


@dataclass(frozen=True, slots=True)
class LabFile:
    topology: Object
    policies: list[Object] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        return str(self.topology["metadata"].get("namespace") or "default")


def read_file(file: Path) -> Object:
    """The Topology in a file."""
    return read_lab(file).topology


def read_lab(file: Path) -> LabFile:
    """Raises InvalidError with the file, the path in it, and what is wrong."""
    from weft.network.routing.policy import validate_policy
    from weft.network.topology.reader import validate_topology
    from weft.network.topology.resources import API_VERSION

    found: dict[str, list[Object]] = {"Topology": [], "RoutingPolicy": []}
    checks = {"Topology": validate_topology, "RoutingPolicy": validate_policy}
    for obj in _documents(file):
        kind = obj.get("kind")
        if obj.get("apiVersion") != API_VERSION or kind not in found:
            raise InvalidError(f"{file}: must be of apiVersion {API_VERSION} and kind Topology or RoutingPolicy")
        for wrong in checks[kind](obj):
            raise InvalidError(f"{file}: {wrong}")
        _check_fields(file, obj, kind)
        found[kind].append(obj)
    if len(found["Topology"]) != 1:
        raise InvalidError(f"{file}: must hold one Topology, and has {len(found['Topology'])}")
    lab = LabFile(found["Topology"][0], found["RoutingPolicy"])
    names = [policy["metadata"]["name"] for policy in lab.policies]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InvalidError(f"{file}: has RoutingPolicy {min(twice)} twice")
    for policy in lab.policies:
        if (policy["metadata"].get("namespace") or lab.namespace) != lab.namespace:
            raise InvalidError(f"{file}: RoutingPolicy {policy['metadata']['name']} is of another namespace")
    return lab


def _documents(file: Path) -> list[Object]:
    import yaml

    try:
        documents = [each for each in yaml.safe_load_all(file.read_text()) if each is not None]
    except OSError as error:
        raise InvalidError(f"cannot read {file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    if not documents or not all(isinstance(each, dict) for each in documents):
        raise InvalidError(f"{file}: must hold one Topology, and has {len(documents)} documents")
    return documents


def _check_fields(file: Path, obj: Object, kind: str) -> None:
    from weft.api.kinds import custom_types
    from weft.api.validation import unknown_fields
    from weft.network.topology.resources import crds

    crd = next(crd for crd in crds() if crd["spec"]["names"]["kind"] == kind)
    for problem in unknown_fields(obj, custom_types(crd)[0]):
        raise InvalidError(f"{file}: {problem}")


async def write_lab(client: Client, lab: LabFile) -> bool:
    """Creates or updates the objects; False where it is to be tried again: the lab is on its way out, or just changed.

    Policies come before a Topology that is to use them, where there is one to which they belong.
    """
    from weft.api.gvr import TOPOLOGIES
    from weft.api.status import ApiError

    obj = lab.topology
    try:
        present = await client.get(TOPOLOGIES, obj["metadata"]["name"], lab.namespace)
    except ApiError as error:
        if error.code != 404:
            raise
        made = await client.create(TOPOLOGIES, obj, lab.namespace)
        await _write_policies(client, lab, made)
        return True
    if "deletionTimestamp" in present["metadata"]:
        return False
    await _write_policies(client, lab, present)
    try:
        await client.update(TOPOLOGIES, {**present, "spec": obj["spec"]})
    except ApiError as error:
        if error.code not in (404, 409):
            raise
        return False
    await _sweep_policies(client, lab, present)
    return True


async def _write_policies(client: Client, lab: LabFile, topology: Object) -> None:
    await asyncio.gather(*(_write_policy(client, policy, lab.namespace, topology) for policy in lab.policies))


async def _write_policy(client: Client, policy: Object, namespace: str, topology: Object) -> None:
    from weft.api.status import ApiError
    from weft.network.topology.resources import API_VERSION, LAB_LABEL, ROUTING_POLICIES

    metadata = topology["metadata"]
    owner = {"apiVersion": API_VERSION, "kind": "Topology", "name": metadata["name"], "uid": metadata["uid"]}
    name = policy["metadata"]["name"]
    labels = {**(policy["metadata"].get("labels") or {}), LAB_LABEL: metadata["name"]}
    wanted = {**policy, "metadata": {**policy["metadata"], "labels": labels, "ownerReferences": [owner]}}
    try:
        await client.create(ROUTING_POLICIES, wanted, namespace)
        return
    except ApiError as error:
        if error.code != 409:
            raise
    present = await client.get(ROUTING_POLICIES, name, namespace)
    owners = present["metadata"].get("ownerReferences") or []
    if owners and not any(each["uid"] == owner["uid"] for each in owners):
        # Of a lab of this name that has just gone, and it with it; or of somebody else.
        if any(each["kind"] == "Topology" and each["name"] == metadata["name"] for each in owners):
            await client.update(ROUTING_POLICIES, {**present, **_as_ours(present, wanted)})
            return
        raise InvalidError(f"RoutingPolicy {name} belongs to {owners[0]['kind']} {owners[0]['name']}: choose a name")
    await client.update(ROUTING_POLICIES, {**present, "spec": policy["spec"]})


def _as_ours(present: Object, wanted: Object) -> Object:
    metadata = {**present["metadata"], "ownerReferences": wanted["metadata"]["ownerReferences"]}
    return {"metadata": metadata, "spec": wanted["spec"]}


async def _sweep_policies(client: Client, lab: LabFile, topology: Object) -> None:
    """Those of the lab's own that its file no longer has."""
    from weft.network.topology.resources import LAB_LABEL, ROUTING_POLICIES

    selector = f"{LAB_LABEL}={topology['metadata']['name']}"
    kept = {policy["metadata"]["name"] for policy in lab.policies}
    for obj in (await client.list(ROUTING_POLICIES, lab.namespace, label_selector=selector)).items:
        uids = {each["uid"] for each in obj["metadata"].get("ownerReferences") or []}
        if obj["metadata"]["name"] not in kept and topology["metadata"]["uid"] in uids:
            await client.delete(ROUTING_POLICIES, obj["metadata"]["name"], lab.namespace, uid=obj["metadata"]["uid"])


__all__ = ["LabFile", "read_file", "read_lab", "write_lab"]
