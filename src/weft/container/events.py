"""The engine's event bus: parts publish, `dockerapi/` and `node/` subscribe.

The last events are kept, so that a subscriber can ask for what happened since a time. Nothing is written to disk:
a restart of Weft starts an empty history, as Docker's does.
"""

import asyncio
import time
import weakref
from collections import deque
from collections.abc import Mapping
from typing import Self

from weft.container.base import EngineEvent

_KEPT = 1024  # as many as Docker keeps (moby, daemon/events)


class Subscription:
    """Events for one reader, from the moment it was made; dropping it ends it."""

    def __init__(self, first: tuple[EngineEvent, ...]) -> None:
        self._queue: asyncio.Queue[EngineEvent] = asyncio.Queue()
        for event in first:
            self._queue.put_nowait(event)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EngineEvent:
        return await self._queue.get()

    def put(self, event: EngineEvent) -> None:
        self._queue.put_nowait(event)


class EventBus:
    """Satisfies `weft.container.base.Events`."""

    def __init__(self) -> None:
        self._history: deque[EngineEvent] = deque(maxlen=_KEPT)
        self._subscribers: weakref.WeakSet[Subscription] = weakref.WeakSet()

    def publish(self, type: str, action: str, id: str, attributes: Mapping[str, str] | None = None) -> None:
        event = EngineEvent(type, action, id, dict(attributes or {}), time.time())
        self._history.append(event)
        for subscriber in list(self._subscribers):
            subscriber.put(event)

    def subscribe(self, since: float | None = None) -> Subscription:
        first = () if since is None else tuple(event for event in self._history if event.time >= since)
        subscription = Subscription(first)
        self._subscribers.add(subscription)
        return subscription
