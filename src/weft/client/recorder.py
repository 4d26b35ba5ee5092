"""Events about objects, as `kubectl describe` shows them: the same event again counts up instead of adding one.

Recording never fails and never waits: a task writes in the background, and what cannot be written is dropped.
"""

import asyncio
import logging
from collections import OrderedDict
from typing import Any, Literal

from weft.api.gvr import EVENTS
from weft.api.status import ApiError
from weft.client.base import Client, Object
from weft.core.clock import Clock, SystemClock, rfc3339
from weft.core.errors import WeftError
from weft.core.ids import short_hash

logger = logging.getLogger(__name__)
_REMEMBERED = 2048
_WAITING = 1000


class Recorder:
    """Writes v1 Events in the name of `component`."""

    def __init__(self, client: Client, component: str, *, host: str = "", clock: Clock | None = None) -> None:
        self._client = client
        self._component = component
        self._host = host
        self._clock = clock or SystemClock()
        self._known: OrderedDict[str, Object] = OrderedDict()
        self._queue: asyncio.Queue[tuple[str, Object]] = asyncio.Queue(_WAITING)

    def event(
        self, obj: Object, kind: Literal["Normal", "Warning"], reason: str, message: str, *, field_path: str = ""
    ) -> None:
        """Records that `reason` happened to `obj`."""
        metadata = obj["metadata"]
        reference = {
            "kind": obj.get("kind", ""),
            "apiVersion": obj.get("apiVersion", ""),
            "name": metadata["name"],
            "namespace": metadata.get("namespace", ""),
            "uid": metadata.get("uid", ""),
            "resourceVersion": metadata.get("resourceVersion", ""),
        }
        if field_path:
            reference["fieldPath"] = field_path
        source = {"component": self._component} | ({"host": self._host} if self._host else {})
        identity = "\n".join([reference["uid"] or metadata["name"], kind, reason, message, field_path])
        event: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": metadata.get("namespace") or "default"},
            "involvedObject": {key: value for key, value in reference.items() if value},
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "source": source,
            "reportingComponent": self._component,
            "reportingInstance": self._host,
            "firstTimestamp": (now := rfc3339(self._clock.now())),
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            self._queue.put_nowait((identity, event))
        except asyncio.QueueFull:
            logger.warning("dropped an event: too many wait", extra={"reason": reason})

    async def run(self) -> None:
        """Writes what was recorded, until cancelled."""
        while True:
            identity, event = await self._queue.get()
            try:
                await self._write(identity, event)
            except (WeftError, OSError) as error:
                logger.info("cannot write event %s: %s", event["reason"], error)

    async def _write(self, identity: str, event: Object) -> None:
        known = self._known.get(identity)
        if known is not None:
            count = known["count"] + 1
            patch = {"count": count, "lastTimestamp": event["lastTimestamp"]}
            name, namespace = known["metadata"]["name"], known["metadata"]["namespace"]
            try:
                await self._client.patch(EVENTS, name, patch, "application/merge-patch+json", namespace)
            except ApiError as error:
                if error.code != 404:
                    raise
            else:
                self._known[identity] = {**known, "count": count}
                self._known.move_to_end(identity)
                return
        stamp = f"{int(self._clock.now() * 1e6):x}"
        event["metadata"]["name"] = f"{event['involvedObject']['name']}.{stamp}{short_hash(identity, 6)}"
        self._known[identity] = await self._client.create(EVENTS, event, event["metadata"]["namespace"])
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
