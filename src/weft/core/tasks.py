"""Background tasks that are looked after: a crash is logged and the task started again, the end is clean."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

logger = logging.getLogger(__name__)


class Tasks:
    """Runs loops by name until `close`; each is a function that makes a fresh coroutine."""

    def __init__(self, *, first_delay: float = 0.1, max_delay: float = 10.0) -> None:
        self._first, self._max = first_delay, max_delay
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
        """Keeps `run` running; a return ends it, an exception starts it again after a growing delay."""
        task = asyncio.get_running_loop().create_task(self._supervise(name, run), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _supervise(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        delay = self._first
        while True:
            began = loop.time()
            try:
                await run()
                return
            except asyncio.CancelledError:
                raise
            except Exception:
                if loop.time() - began > 60:
                    delay = self._first
                logger.exception("%s failed, starting it again", name, extra={"delay": delay})
            await asyncio.sleep(delay)
            delay = min(delay * 2, self._max)

    async def close(self) -> None:
        """Cancels all and waits for their ends."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def wait_all(actions: Iterable[Awaitable[object]]) -> None:
    """Runs all at once and waits for every end; then raises the first error, so that one does not stop the others."""
    for result in await asyncio.gather(*actions, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
