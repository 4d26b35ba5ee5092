"""The loop around `daemonset.decide`: informers in; pods, revisions and status out."""

from weft.api.gvr import CONTROLLERREVISIONS, DAEMONSETS, NODES, PODS
from weft.client.base import Object
from weft.client.informer import Key, by_owner
from weft.controllers import history
from weft.controllers.claims import selector_of, settle, without_controller
from weft.controllers.daemonset import decide, node_of
from weft.controllers.expectations import Expectations
from weft.controllers.podcontrol import PodControl
from weft.controllers.runner import Context, controller_of, enqueue, enqueue_controller
from weft.core.workqueue import WorkQueue


class DaemonSetController:
    """A change of a node that decides where pods may be concerns every set."""

    name = "daemonset"

    def __init__(self, context: Context) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(context.clock)
        self._client, self._clock = context.client, context.clock
        self._sets = context.informers.of(DAEMONSETS)
        self._pods = context.informers.of(PODS)
        self._nodes = context.informers.of(NODES)
        self._revisions = context.informers.of(CONTROLLERREVISIONS)
        self._pods.add_index("owner", by_owner)
        self._pods.add_index("orphans", without_controller)
        self._revisions.add_index("owner", by_owner)
        self.informers = (self._sets, self._pods, self._nodes, self._revisions)
        self._recorder = context.recorder("daemonset-controller")
        self._written = Expectations(self._pods, context.clock)
        self._control = PodControl(self._client, self._recorder, self._written)
        self._sets.on_change(enqueue(self.queue))
        self._pods.on_change(enqueue_controller(self.queue, "DaemonSet"))
        self._pods.on_change(self._orphan_changed)
        self._nodes.on_change(self._node_changed)

    def _orphan_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None or controller_of(new) is not None:
            return
        for each in self._sets.list(new["metadata"]["namespace"]):
            if selector_of(each).matches(new["metadata"].get("labels")):
                self.queue.add((each["metadata"]["namespace"], each["metadata"]["name"]))

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and _place(old) == _place(new):
            return
        for each in self._sets.list():
            self.queue.add((each["metadata"]["namespace"], each["metadata"]["name"]))

    async def reconcile(self, key: Key) -> None:
        daemon_set = self._sets.get(*key)
        if daemon_set is None:
            self._written.forget(key)
            return
        if seconds := self._written.remaining(key):
            self.queue.add_after(key, seconds)  # the next change of a pod comes sooner
            return
        uid = daemon_set["metadata"]["uid"]
        pods = [*self._pods.by_index("owner", uid), *self._pods.by_index("orphans", key[0])]
        revisions = self._revisions.by_index("owner", uid)
        plan = decide(daemon_set, self._nodes.list(), pods, revisions, self._clock.now())
        await settle(self._client, plan.claims, daemon_set, DAEMONSETS, PODS)
        if plan.revision is not None and not await history.write(self._client, plan.revision):
            # Another object has the revision's name: the next try has another hash.
            before = daemon_set.get("status") or {}
            status = {**before, "collisionCount": before.get("collisionCount", 0) + 1}
            await self._client.update(DAEMONSETS, {**daemon_set, "status": status}, subresource="status")
            return
        for pod in plan.ended:
            failed = pod["status"]["phase"] == "Failed"
            what = f"daemon pod {'/'.join((key[0], pod['metadata']['name']))} on node {node_of(pod)}"
            message = (
                f"Found {'failed' if failed else 'succeeded'} {what}, will try to {'kill' if failed else 'delete'} it"
            )
            reason = "FailedDaemonPod" if failed else "SucceededDaemonPod"
            self._recorder.event(daemon_set, "Warning" if failed else "Normal", reason, message)
        await self._control.delete_all(key, daemon_set, plan.delete)
        await self._control.create_all(key, daemon_set, plan.create)
        if plan.status is not None and plan.status != daemon_set.get("status"):
            await self._client.update(DAEMONSETS, {**daemon_set, "status": plan.status}, subresource="status")
        await history.prune(self._client, plan.expired)
        if plan.wake_after is not None:
            self.queue.add_after(key, plan.wake_after + 0.01)


def _place(node: Object) -> object:
    """What of a node decides which pods may be there."""
    return node["metadata"].get("labels"), (node.get("spec") or {}).get("taints")
