"""The ConfigMaps and Secrets that pods of this node name: each watched once, for as long as a pod needs it.

Watching one object by its name (as the kubelet does) keeps what the node knows to what its pods may see.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from weft.api.gvr import CONFIGMAPS, GVR, SECRETS
from weft.client.base import Client, Object
from weft.client.informer import Informer


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """One ConfigMap or Secret."""

    gvr: GVR
    namespace: str
    name: str


def references_of(pod: Object) -> frozenset[Reference]:
    """All that the pod names, in variables, volumes and pull secrets."""
    namespace, spec = pod["metadata"]["namespace"], pod["spec"]
    found: set[Reference] = set()

    def add(gvr: GVR, name: Any) -> None:
        if name:
            found.add(Reference(gvr, namespace, str(name)))

    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        for source in container.get("envFrom") or []:
            add(CONFIGMAPS, (source.get("configMapRef") or {}).get("name"))
            add(SECRETS, (source.get("secretRef") or {}).get("name"))
        for variable in container.get("env") or []:
            source = variable.get("valueFrom") or {}
            add(CONFIGMAPS, (source.get("configMapKeyRef") or {}).get("name"))
            add(SECRETS, (source.get("secretKeyRef") or {}).get("name"))
    for volume in spec.get("volumes") or []:
        for source in _sources(volume):
            add(CONFIGMAPS, (source.get("configMap") or {}).get("name"))
            secret = source.get("secret") or {}
            add(SECRETS, secret.get("secretName") or secret.get("name"))
    for each in spec.get("imagePullSecrets") or []:
        add(SECRETS, each.get("name"))
    return frozenset(found)


def _sources(volume: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield volume
    yield from (volume.get("projected") or {}).get("sources") or []


class References:
    """Fresh copies of what pods have asked to be watched."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._watched: dict[Reference, tuple[Informer, asyncio.Task[None]]] = {}
        self._users: dict[Reference, dict[str, Callable[[], None]]] = {}

    def hold(self, user: str, wanted: Iterable[Reference], changed: Callable[[], None]) -> None:
        """`user` needs exactly `wanted` from now on; `changed` is called when one of them changes or is first known."""
        wanted = set(wanted)
        for reference in [each for each, users in self._users.items() if user in users and each not in wanted]:
            self._release(user, reference)
        for reference in wanted:
            self._users.setdefault(reference, {})[user] = changed
            if reference not in self._watched:
                self._watch(reference)

    def synced(self, user: str) -> bool:
        """Whether all that the user needs has been looked up."""
        return all(self._watched[each][0].has_synced for each, users in self._users.items() if user in users)

    def get(self, reference: Reference) -> Object | None:
        if reference not in self._watched:
            return None
        return self._watched[reference][0].get(reference.namespace, reference.name)

    async def close(self) -> None:
        tasks = [task for _, task in self._watched.values()]
        self._watched.clear()
        self._users.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _watch(self, reference: Reference) -> None:
        informer = Informer(
            self._client,
            reference.gvr,
            namespace=reference.namespace,
            field_selector=f"metadata.name={reference.name}",
        )

        def tell(*_: object) -> None:
            for changed in list(self._users.get(reference, {}).values()):
                changed()

        async def tell_when_synced() -> None:
            await informer.synced()
            tell()

        async def run() -> None:
            first = asyncio.create_task(tell_when_synced())
            try:
                await informer.run()
            finally:
                first.cancel()

        informer.on_change(tell)
        name = f"watch {reference.gvr} {reference.namespace}/{reference.name}"
        self._watched[reference] = (informer, asyncio.get_running_loop().create_task(run(), name=name))

    def _release(self, user: str, reference: Reference) -> None:
        users = self._users[reference]
        users.pop(user, None)
        if not users:
            del self._users[reference]
            _, task = self._watched.pop(reference)
            task.cancel()
