"""Making and deleting pods on behalf of a controller: the owner reference, the events, and what the cache lags behind.

In: an owner and pods as its controller decided. Out: writes, and Expectations of them. Source: Kubernetes
`pkg/controller/controller_utils.go`.
"""

import copy
from collections.abc import Sequence

from weft.api.gvr import GVR, PODS
from weft.api.status import ApiError
from weft.client.base import Client, Object
from weft.client.informer import Key
from weft.client.recorder import Recorder
from weft.controllers.expectations import Expectations
from weft.controllers.runner import is_namespace_ending, owner_reference
from weft.core.tasks import wait_all

_FROM_TEMPLATE = ("labels", "annotations", "finalizers")


def from_template(owner: Object, owner_gvr: GVR, template: Object, **metadata: object) -> Object:
    """A pod of the template that `owner` controls; `metadata` names it."""
    given = template.get("metadata") or {}
    own = {name: copy.deepcopy(given[name]) for name in _FROM_TEMPLATE if given.get(name)}
    own |= {
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [owner_reference(owner, owner_gvr, owner["kind"])],
        **metadata,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": own, "spec": copy.deepcopy(template["spec"])}


class PodControl:
    """The writes of one controller."""

    def __init__(self, client: Client, recorder: Recorder, expectations: Expectations) -> None:
        self._client, self._recorder, self._expectations = client, recorder, expectations

    async def create_all(self, key: Key, owner: Object, pods: Sequence[Object]) -> None:
        """In batches that double, so that what fails for every pod is tried once and not for hundreds."""
        done, batch = 0, 1
        while done < len(pods):
            await wait_all(self.create(key, owner, pod) for pod in pods[done : done + batch])
            done += batch
            batch *= 2

    async def create(self, key: Key, owner: Object, pod: Object) -> Object:
        try:
            made = await self._client.create(PODS, pod, key[0])
        except ApiError as error:
            if not is_namespace_ending(error):
                self._recorder.event(owner, "Warning", "FailedCreate", f"Error creating: {error}")
            raise
        self._expectations.wrote(key, made)
        self._recorder.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")
        return made

    async def delete_all(self, key: Key, owner: Object, pods: Sequence[Object]) -> None:
        await wait_all(self.delete(key, owner, pod) for pod in pods)

    async def delete(self, key: Key, owner: Object, pod: Object) -> None:
        metadata = pod["metadata"]
        try:
            last = await self._client.delete(PODS, metadata["name"], key[0], uid=metadata["uid"])
        except ApiError as error:
            if error.code == 404:
                return
            self._recorder.event(owner, "Warning", "FailedDelete", f"Error deleting: {error}")
            raise
        self._expectations.deleted(key, last)
        self._recorder.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {metadata['name']}")
