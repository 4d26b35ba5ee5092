"""Nodes and what runs on them, as the rules see them. CPU in millicores, memory in bytes.

In: each change of a node or pod. Out: a NodeInfo a node, whose sums are kept up to date, not counted anew for each pod.
"""

from collections.abc import Sequence

from weft.api import quantity
from weft.client.base import Object
from weft.client.informer import Key, key_of


def requests_of(pod: Object) -> dict[str, int]:
    """What a pod asks for (kubernetes.io, "Sidecar containers", "Pod overhead").

    The sum of its containers and sidecars, or what it needs while one of its init containers runs if that is more.
    """
    spec = pod["spec"]
    sidecars: dict[str, int] = {}
    starting: dict[str, int] = {}
    for container in spec.get("initContainers") or []:
        requests = _requests(container)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, requests)
            requests = sidecars
        else:
            requests = _sum(sidecars, requests)
        for name, value in requests.items():
            starting[name] = max(starting.get(name, 0), value)
    running = dict(sidecars)
    for container in spec.get("containers") or []:
        _add(running, _requests(container))
    total = {name: max(running.get(name, 0), starting.get(name, 0)) for name in running | starting}
    _add(total, {name: amount(name, text) for name, text in (spec.get("overhead") or {}).items()})
    return total


def _requests(container: Object) -> dict[str, int]:
    resources = container.get("resources") or {}
    given = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: amount(name, text) for name, text in given.items()}


def _add(total: dict[str, int], more: dict[str, int], sign: int = 1) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + sign * value


def _sum(first: dict[str, int], second: dict[str, int]) -> dict[str, int]:
    total = dict(first)
    _add(total, second)
    return total


def amount(name: str, text: object) -> int:
    """A quantity as a whole number: CPU in thousandths, everything else in units, both rounded up."""
    return quantity.to_milli(str(text)) if name == "cpu" else quantity.to_int(str(text))


class NodeInfo:
    """A node with its unfinished pods and the sum of what they ask for."""

    def __init__(self, node: Object) -> None:
        self.pods: dict[Key, Object] = {}
        self.requested: dict[str, int] = {}
        self._requests: dict[Key, dict[str, int]] = {}
        self.set_node(node)

    def set_node(self, node: Object) -> None:
        self.node = node
        given = (node.get("status") or {}).get("allocatable") or {}
        self.allocatable = {name: amount(name, text) for name, text in given.items()}

    @property
    def name(self) -> str:
        return str(self.node["metadata"]["name"])

    def add(self, pod: Object) -> None:
        key = key_of(pod)
        self.remove(key)
        self.pods[key] = pod
        self._requests[key] = requests_of(pod)
        _add(self.requested, self._requests[key])

    def remove(self, key: Key) -> None:
        if self.pods.pop(key, None) is not None:
            _add(self.requested, self._requests.pop(key), sign=-1)


def takes_room(pod: Object) -> bool:
    """It has a node and has not finished there."""
    return bool(pod["spec"].get("nodeName")) and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


class Snapshot:
    """All nodes; a pod may be there before its node is, and counts when that comes."""

    def __init__(self) -> None:
        self._infos: dict[str, NodeInfo] = {}
        self._placed: dict[Key, Object] = {}  # every unfinished pod that names a node
        self._names: list[str] | None = None

    def nodes(self) -> Sequence[NodeInfo]:
        """By name."""
        if self._names is None:
            self._names = sorted(self._infos)
        return [self._infos[name] for name in self._names]

    def set_node(self, node: Object) -> None:
        name = node["metadata"]["name"]
        if name in self._infos:
            self._infos[name].set_node(node)
            return
        info = self._infos[name] = NodeInfo(node)
        self._names = None
        for pod in self._placed.values():
            if pod["spec"]["nodeName"] == name:
                info.add(pod)

    def remove_node(self, name: str) -> None:
        if self._infos.pop(name, None) is not None:
            self._names = None

    def set_pod(self, pod: Object) -> None:
        """A pod as it is now: finished ones and those without a node take no room."""
        self.remove_pod(key_of(pod))
        if not takes_room(pod):
            return
        self._placed[key_of(pod)] = pod
        if (info := self._infos.get(pod["spec"]["nodeName"])) is not None:
            info.add(pod)

    def remove_pod(self, key: Key) -> None:
        pod = self._placed.pop(key, None)
        if pod is not None and (info := self._infos.get(pod["spec"]["nodeName"])) is not None:
            info.remove(key)
