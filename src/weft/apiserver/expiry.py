"""Events are kept for an hour, as Kubernetes keeps them, so that the store does not grow for ever."""

import asyncio
from typing import Any

from weft.api.gvr import EVENTS
from weft.api.status import ApiError
from weft.apiserver.api import Api
from weft.apiserver.local import LocalClient
from weft.core.clock import parse_rfc3339
from weft.core.errors import UnavailableError

_KEPT_SECONDS = 3600.0
_INTERVAL = 60.0


class EventExpiry:
    """`start` and `stop`; `sweep` is one round."""

    def __init__(self, api: Api, client: LocalClient) -> None:
        self._api = api
        self._client = client

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="event-expiry")

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._api.clock.sleep(_INTERVAL)
            await self.sweep()

    async def sweep(self) -> None:
        before = self._api.clock.now() - _KEPT_SECONDS
        rtype = self._api.kinds.by_gvr(EVENTS)
        assert rtype is not None
        for event in [event for event in self._api.objects.each(rtype) if last_seen(event) < before]:
            metadata = event["metadata"]
            try:
                await self._client.delete(EVENTS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
            except (ApiError, UnavailableError):
                continue  # someone else was first, or the next round will do it


def last_seen(event: dict[str, Any]) -> float:
    """When the event was last written, in seconds since 1970."""
    series = event.get("series") or {}
    times = (
        event["metadata"].get("creationTimestamp"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        series.get("lastObservedTime"),
    )
    return max(parse_rfc3339(time) for time in times if time)
