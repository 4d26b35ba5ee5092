"""Runs controllers: informers fill a queue of keys, workers call `reconcile(key)` until the world agrees.

A controller is level-triggered and idempotent: it looks at what is there, decides by a pure function, and acts.
Errors are retried with back-off; a conflict means that the cache lags behind, and is retried quietly.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from weft.api.gvr import GVR
from weft.api.status import ApiError
from weft.client.base import Client, Object
from weft.client.informer import Informer, Informers, Key, key_of
from weft.client.recorder import Recorder
from weft.core.clock import Clock, SystemClock
from weft.core.errors import WeftError
from weft.core.tasks import Tasks
from weft.core.workqueue import WorkQueue

logger = logging.getLogger(__name__)


class Context:
    """What a controller is given: the client, shared informers, a recorder's maker, the clock."""

    def __init__(self, client: Client, *, clock: Clock | None = None) -> None:
        self.client = client
        self.clock: Clock = clock or SystemClock()
        self.informers = Informers(client, clock=clock)
        self.recorders: list[Recorder] = []

    def recorder(self, component: str) -> Recorder:
        recorder = Recorder(self.client, component, clock=self.clock)
        self.recorders.append(recorder)
        return recorder


class Controller(Protocol):
    """A loop: its queue is filled by handlers that it puts on informers in its constructor."""

    @property
    def name(self) -> str: ...
    @property
    def queue(self) -> WorkQueue[Key]: ...
    @property
    def informers(self) -> Sequence[Informer]: ...

    async def reconcile(self, key: Key) -> None:
        """Makes the object's world as it should be; raises to be called again."""
        ...


def enqueue(queue: WorkQueue[Key]) -> Callable[[Object | None, Object | None], None]:
    """A handler that queues the changed object itself."""

    def handler(old: Object | None, new: Object | None) -> None:
        obj = new or old
        if obj is not None:
            queue.add(key_of(obj))

    return handler


def enqueue_controller(queue: WorkQueue[Key], kind: str) -> Callable[[Object | None, Object | None], None]:
    """A handler that queues the object's controller of `kind`, before and after the change."""

    def handler(old: Object | None, new: Object | None) -> None:
        for obj in (old, new):
            owner = controller_of(obj) if obj is not None else None
            if obj is not None and owner is not None and owner["kind"] == kind:
                queue.add((obj["metadata"].get("namespace") or "", owner["name"]))

    return handler


def controller_of(obj: Object) -> Object | None:
    """The owner reference that controls the object."""
    for owner in obj["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            reference: Object = owner
            return reference
    return None


def owner_reference(owner: Object, gvr: GVR, kind: str) -> Object:
    """A reference that makes `owner` the controller, deleted in the foreground only after its dependents."""
    return {
        "apiVersion": gvr.api_version,
        "kind": kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_namespace_ending(error: ApiError) -> bool:
    """Nothing can be made in a namespace that is being deleted, and nothing needs to be."""
    return any(cause.reason == "NamespaceTerminating" for cause in error.causes)


async def run_controllers(context: Context, controllers: Sequence[Controller], *, workers: int = 4) -> None:
    """Runs informers, recorders and controllers until cancelled."""
    tasks = Tasks()
    try:
        context.informers.start(tasks)
        for recorder in context.recorders:
            tasks.start("recorder", recorder.run)
        for controller in controllers:
            for _ in range(workers):
                tasks.start(controller.name, partial(_work, controller))
        await asyncio.Event().wait()
    finally:
        for controller in controllers:
            controller.queue.close()
        await tasks.close()


async def _work(controller: Controller) -> None:
    for informer in controller.informers:
        await informer.synced()
    while (key := await controller.queue.get()) is not None:
        try:
            await controller.reconcile(key)
            controller.queue.forget(key)
        except ApiError as error:
            if is_namespace_ending(error):
                continue  # and so is whatever the key names
            delay = controller.queue.retry(key)
            level = logging.DEBUG if error.code in (404, 409) else logging.WARNING
            logger.log(level, "%s %s: %s", controller.name, "/".join(key), error, extra={"delay": delay})
        except (WeftError, OSError) as error:
            delay = controller.queue.retry(key)
            logger.warning("%s %s: %s", controller.name, "/".join(key), error, extra={"delay": delay})
        except Exception:
            delay = controller.queue.retry(key)
            logger.exception("%s %s failed", controller.name, "/".join(key), extra={"delay": delay})
        finally:
            controller.queue.done(key)
