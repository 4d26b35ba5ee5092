"""The engine, put together: images, containers, volumes and events of one instance.

`cli/` opens it with the instance's settings and a network; `dockerapi/` and `node/` are its two faces. Opening it
finds the containers that an earlier process left, running or not; closing it leaves the running ones running.
"""

from typing import Self

from weft.container.base import Containers, Images
from weft.container.events import EventBus
from weft.container.networking import Networking
from weft.core.settings import Settings


class Engine:
    """One instance's container engine."""

    def __init__(self, settings: Settings, images: Images, containers: Containers, events: EventBus) -> None:
        self.settings = settings
        self.images = images
        self.containers = containers
        self.events = events

    @classmethod
    async def open(cls, settings: Settings, networking: Networking) -> Self:
        raise NotImplementedError

    async def close(self) -> None:
        """Lets go of everything; running containers run on."""
