"""A Kubernetes API for tests of any program, in this process: a real server on a free port, ready in a moment.

    with Cluster() as cluster:                              # server, controllers, scheduler, one simulated node
        cluster.kubectl("create", "deployment", "web", "--image=web")
        cluster.kubectl("rollout", "status", "deployment/web")

No root, no containers, nothing left behind. Who is next: `pytest_plugin`, which makes fixtures of it;
docs/testing.md, which tells users.
"""

import asyncio
import contextlib
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from weft.testing.apiserver import RunningServer, api_server
from weft.testing.clock import SteeredClock
from weft.testing.nodes import Behaviour, SimulatedNodes

T = TypeVar("T")
_START_SECONDS = 30.0
_QUIET_SECONDS = 0.003
_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Options:
    """What runs beside the API server. Without controllers nothing follows from what is written; without a scheduler
    pods stay Pending unless they name their node; `nodes` is a number of simulated nodes, or their names."""

    controllers: bool = True
    scheduler: bool = True
    nodes: int | tuple[str, ...] = 1


class Cluster:
    """`start` and `stop`, or a `with` statement. All methods may be called from any thread."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: RunningServer | None = None
        self._clock: SteeredClock | None = None
        self._nodes: SimulatedNodes | None = None
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> "Cluster":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when the API answers, simulated nodes are registered and the default service account is there."""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="weft cluster", daemon=True)
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            raise TimeoutError(f"the cluster did not start in {_START_SECONDS:g} s")
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        if self._loop is not None and self._stop is not None and self._thread is not None:
            with contextlib.suppress(RuntimeError):  # its loop has ended
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        self._thread = None

    # What clients need

    @property
    def kubeconfig(self) -> Path:
        return self._server.kubeconfig

    @property
    def url(self) -> str:
        settings = self._server.settings
        return f"https://{settings.api_address}:{settings.api_port}"

    @property
    def certificate_authority(self) -> Path:
        return self._server.settings.paths.pki / "ca.crt"

    @property
    def environment(self) -> dict[str, str]:
        """For programs that talk to the cluster: KUBECONFIG, and a home directory of their own."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self._server.settings.paths.root)}

    def client(self) -> Any:
        """An `ApiClient` of the `kubernetes` package, if that is installed; close it when done."""
        import kubernetes

        make: Callable[[str], Any] = kubernetes.config.new_client_from_config
        return make(str(self.kubeconfig))

    def kubectl(
        self,
        *arguments: str,
        stdin: str | None = None,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> "subprocess.CompletedProcess[str]":
        """Runs this machine's kubectl; raises AssertionError with what it said where it fails, with `check`."""
        done = subprocess.run(
            ["kubectl", *arguments], input=stdin if stdin is not None else "", capture_output=True, text=True,
            env=self.environment | dict(env or {}), timeout=timeout, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    # Nodes

    def behave(self, behaviour: Behaviour, **labels: str) -> None:
        """From now on, pods with these labels behave so, those that run too: `behave(Behaviour(ready=False), app="a")`.

        The latest that fits counts; without labels it fits all pods.
        """
        self._call(lambda: self._simulated.behave(behaviour, labels))

    def silence(self, node: str, *, silent: bool = True) -> None:
        """Lets a simulated node fall silent, as one that lost its power, or come back."""
        self._call(lambda: self._simulated.silence(node, silent=silent))

    # Time

    def freeze(self) -> None:
        """Stops the cluster's clock."""
        self._call(self._steered.freeze)

    def resume(self) -> None:
        """Lets the clock run on from where it stands."""
        self._call(self._steered.resume)

    def advance(self, seconds: float) -> None:
        """Freezes the clock, if it is not yet, and moves it on; returns when what was due then has been done."""
        self.freeze()
        self._run(self._steered.advance(seconds, self._settle))

    def now(self) -> float:
        """The cluster's time, in seconds since 1970."""
        return self._call(self._steered.now)

    def settle(self) -> None:
        """Waits until nothing is written any more."""
        self._run(self._settle())

    # Inside

    @property
    def _server(self) -> RunningServer:
        if self._running is None:
            raise RuntimeError("the cluster does not run")
        return self._running

    @property
    def _steered(self) -> SteeredClock:
        assert self._clock is not None
        return self._clock

    @property
    def _simulated(self) -> SimulatedNodes:
        if self._nodes is None:
            raise RuntimeError("the cluster has no simulated nodes")
        return self._nodes

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _call(self, work: Callable[[], T]) -> T:
        async def run() -> T:
            return work()

        return self._run(run())

    async def _settle(self) -> None:
        """Nothing was written for a few milliseconds of real time, which is many turns of the loop."""
        cache = self._server.server.api.cache
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < _QUIET_SECONDS:
            if cache.revision != seen:
                seen, since = cache.revision, time.monotonic()
            await asyncio.sleep(0.0005)

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._clock = SteeredClock()
        try:
            async with contextlib.AsyncExitStack() as stack:
                memory = str(_MEMORY) if os.access(_MEMORY, os.W_OK) else None
                root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="weft-test-", dir=memory)))
                await self._start(stack, root)
                self._ready.set()
                await self._stop.wait()
        except BaseException as error:
            self._error = error
            self._ready.set()
        finally:
            self._running = None

    async def _start(self, stack: contextlib.AsyncExitStack, root: Path) -> None:
        from weft.api.gvr import SERVICEACCOUNTS
        from weft.cli.server import controllers_of
        from weft.controllers.runner import Context, run_controllers
        from weft.core.tasks import Tasks
        from weft.scheduler.scheduler import Scheduler

        running = self._running = await stack.enter_async_context(api_server(root, clock=self._clock))
        tasks = Tasks()
        stack.push_async_callback(tasks.close)
        context = Context(running.local, clock=self._clock)
        controllers = controllers_of(context, running.server) if self.options.controllers else []
        if self.options.scheduler:
            scheduler = Scheduler(running.local, informers=context.informers, clock=self._clock)
            tasks.start("scheduler", scheduler.run)
        if self.options.nodes:
            self._nodes = SimulatedNodes(running.local, self._steered, context.informers, self.options.nodes)
            tasks.start("nodes", self._nodes.run)
        tasks.start("controllers", lambda: run_controllers(context, controllers))
        if self._nodes is not None:
            await self._nodes.registered.wait()
        while self.options.controllers:
            accounts = await running.local.list(SERVICEACCOUNTS, "default")
            if accounts.items:
                break
            await asyncio.sleep(0.001)
