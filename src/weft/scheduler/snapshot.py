"""Nodes and what runs on them, at one moment, as the rules see them. CPU in millicores, memory in bytes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from weft.api import quantity
from weft.client.base import Object

RESOURCES = ("cpu", "memory", "ephemeral-storage")


def requests_of(pod: Object) -> dict[str, int]:
    """What a pod asks for: the sum of its containers, or its largest init container if that is more."""
    total: dict[str, int] = {}
    for container in pod["spec"].get("containers") or []:
        for name, value in _requests(container).items():
            total[name] = total.get(name, 0) + value
    for container in pod["spec"].get("initContainers") or []:
        for name, value in _requests(container).items():
            total[name] = max(total.get(name, 0), value)
    return total


def _requests(container: Object) -> dict[str, int]:
    resources = container.get("resources") or {}
    given = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: amount(name, text) for name, text in given.items()}


def amount(name: str, text: object) -> int:
    """A quantity as a whole number: CPU in thousandths, everything else in units, both rounded up."""
    return quantity.to_milli(str(text)) if name == "cpu" else quantity.to_int(str(text))


@dataclass(slots=True)
class NodeInfo:
    """A node with the sum of what its pods ask for."""

    node: Object
    pods: list[Object] = field(default_factory=list)
    requested: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.node["metadata"]["name"])

    @property
    def allocatable(self) -> dict[str, int]:
        given = (self.node.get("status") or {}).get("allocatable") or {}
        return {name: amount(name, text) for name, text in given.items()}

    def add(self, pod: Object) -> None:
        self.pods.append(pod)
        for name, value in requests_of(pod).items():
            self.requested[name] = self.requested.get(name, 0) + value


def snapshot(nodes: Iterable[Object], pods: Iterable[Object]) -> Sequence[NodeInfo]:
    """Nodes by name, each with its unfinished pods."""
    infos = {node["metadata"]["name"]: NodeInfo(node) for node in nodes}
    for pod in pods:
        info = infos.get(pod["spec"].get("nodeName", ""))
        if info is not None and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            info.add(pod)
    return [infos[name] for name in sorted(infos)]
