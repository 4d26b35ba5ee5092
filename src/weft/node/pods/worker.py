"""One pod's loop: something changed -> observe -> decide -> write the status, begin the actions.

In: the pod as the API has it, wake-ups (engine events, probes, references, timers). Out: a world like the pod's
specification and a status like the world. Actions run beside the loop, at most one of each key.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from weft.api.gvr import PODS
from weft.api.status import ApiError
from weft.client.base import Object
from weft.container.spec import Container, State
from weft.core.clock import parse_rfc3339
from weft.core.errors import WeftError
from weft.node.handlers import Target
from weft.node.pods import status
from weft.node.pods.decide import decide
from weft.node.pods.model import Action, Attempt, Health, MountVolumes, Observation, Plan, Trouble
from weft.node.pods.names import CONTAINER_NAME, FAILURES, POD_UID, RESTART_COUNT
from weft.node.pods.operations import ActionError, Operations, Parts, container_of
from weft.node.prober import Listener, Prober
from weft.node.references import references_of

logger = logging.getLogger(__name__)

_IMAGE_REASONS = ("ErrImagePull", "ErrImageNeverPull", "InvalidImageName")
# What a ConfigMap or Secret that appears may have cured.
_REFERENCE_REASONS = ("CreateContainerConfigError", "FailedMount")
_LOG_TAIL_LINES, _LOG_TAIL_BYTES = 80, 2048
_START_ERROR = 128


class PodWorker:
    """`update` and `wake` from outside; `run` until nothing is left of the pod."""

    def __init__(self, parts: Parts, uid: str, pod: Object | None) -> None:
        self.uid = uid
        self._parts = parts
        self._pod = pod
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._operations = Operations(parts, uid, self._stopping)
        self._prober = Prober(parts.handlers, parts.clock)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._troubles: dict[str, Trouble] = {}
        self._messages: dict[str, str] = {}
        self._told: set[str] = set()
        self._mounted = False
        self._stale = False
        self._was_ready = _ready_containers(pod)
        self._gone_at = 0.0
        self._writing: asyncio.Task[None] | None = None
        self._last: tuple[Observation, Plan] | None = None
        self.update(pod)

    # From outside

    def update(self, pod: Object | None) -> None:
        """The API has this now; None: it knows the pod no more."""
        if pod is not None and self._pod is not None and _version(pod) < _version(self._pod):
            return  # older than the answer to our own write
        self._pod = pod
        if pod is None or pod["metadata"].get("deletionTimestamp"):
            self._stopping.set()
            self._prober.stop()
        if pod is None:
            self._gone_at = self._gone_at or self._parts.clock.now()
            self._parts.references.hold(self.uid, (), self._references_changed)
        else:
            self._parts.references.hold(self.uid, references_of(pod), self._references_changed)
            self._source_changed()
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    @property
    def pod(self) -> Object | None:
        """What the API was last known to have."""
        return self._pod

    def _references_changed(self) -> None:
        for key, trouble in self._troubles.items():
            if trouble.reason in _REFERENCE_REASONS:
                self._troubles[key] = replace(trouble, retry_at=0.0)
        self._source_changed()
        self._wake.set()

    def _source_changed(self) -> None:
        """What volumes are made from differs: they follow, at once or as soon as they are mounted."""
        self._stale = True
        if self._mounted:
            self._begin("refresh", self._refresh)

    # The loop

    async def run(self) -> None:
        """Returns when the pod is gone, here and in the API."""
        try:
            timer: asyncio.TimerHandle | None = None
            while True:
                await self._wake.wait()
                self._wake.clear()
                if timer is not None:
                    timer.cancel()
                plan = self._step()
                if plan.done:
                    return
                if plan.wake_at is not None:
                    delay = max(plan.wake_at - self._parts.clock.now(), 0.0) + 0.001
                    timer = asyncio.get_running_loop().call_later(delay, self._wake.set)
        finally:
            self._parts.references.hold(self.uid, (), self._references_changed)
            await self._prober.close()
            tasks = [*self._tasks.values(), *([self._writing] if self._writing else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _step(self) -> Plan:
        now = self._parts.clock.now()
        seen = self._observe()
        plan = decide(self._pod, seen, now)
        for action in plan.actions:
            self._begin(action.key, partial(self._do, action, self._pod))
        if self._pod is not None:
            for notice in plan.notices:
                if notice.key not in self._told:
                    self._told.add(notice.key)
                    self._operations.tell(self._pod, notice.type, notice.reason, notice.message, notice.container)
            self._last = (seen, plan)
            self._publish()
        return plan

    # Observing

    def _observe(self) -> Observation:
        parts, uid = self._parts, self.uid
        attempts: dict[str, list[Attempt]] = {}
        for container in parts.containers.list(labels={POD_UID: uid}):
            if container.state is not State.REMOVING:
                attempt = self._attempt(container)
                attempts.setdefault(attempt.container, []).append(attempt)
        for each in attempts.values():
            each.sort(key=lambda attempt: attempt.number, reverse=True)
        if self._pod is not None and not self._pod["metadata"].get("deletionTimestamp"):
            _remember_lost(self._pod, attempts, self._tasks)
        sandbox = parts.networking.get(uid)
        address = sandbox.address if sandbox is not None else ""
        directory = parts.volumes.directory(uid)
        return Observation(
            attempts={name: tuple(each) for name, each in attempts.items()},
            sandbox=sandbox is not None,
            volumes=self._mounted,
            volume_files=(directory / "volumes").exists(),
            directory=directory.exists(),
            address=address,
            references=parts.references.synced(uid),
            health=self._health(attempts, address),
            troubles=dict(self._troubles),
            busy=frozenset(self._tasks),
            host_address=parts.machine.address,
            gone_at=self._gone_at,
        )

    def _attempt(self, container: Container) -> Attempt:
        labels = container.spec.labels
        name, number = labels.get(CONTAINER_NAME, ""), int(labels.get(RESTART_COUNT, "0"))
        state, code, reason, message = container.state, container.exit_code, "", ""
        finished = container.finished_at
        if state is State.CREATED and container.error:  # the engine could not start it
            state, code, reason, message = State.EXITED, code or _START_ERROR, "StartError", container.error
            finished = container.created_at
        elif state in (State.EXITED, State.DEAD):
            message = self._message(container, name, number)
        return Attempt(
            name, number, container.id, state, container.image_id, code, container.oom_killed, container.created_at,
            container.started_at, finished, int(labels.get(FAILURES, "0")), reason, message,
        )  # fmt: skip

    def _message(self, container: Container, name: str, number: int) -> str:
        """The termination message, read once."""
        if container.id not in self._messages:
            text = self._parts.volumes.read_message(self.uid, name, number)
            self._messages[container.id] = text
            if not text and container.exit_code != 0 and self._pod is not None:
                spec: Any = {}
                for each in self._pod["spec"]["containers"]:
                    spec = each if each["name"] == name else spec
                if spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
                    self._begin(f"message:{container.id}", partial(self._read_log_tail, container.id))
        return self._messages[container.id]

    async def _read_log_tail(self, id: str) -> None:
        lines = [line.data async for line in self._parts.containers.logs(id, tail=_LOG_TAIL_LINES)]
        self._messages[id] = b"".join(lines)[-_LOG_TAIL_BYTES:].decode(errors="replace")

    def _health(self, attempts: dict[str, list[Attempt]], address: str) -> dict[str, Health]:
        """Begins to probe what runs; the others' probes end."""
        found: dict[str, Health] = {}
        current = [each[0] for each in attempts.values() if each[0].running]
        self._prober.keep(frozenset(attempt.id for attempt in current))
        pod = self._pod
        if pod is None:
            return found
        for attempt in current:
            if not self._stopping.is_set():
                try:
                    container = container_of(pod, attempt.container)
                except StopIteration:
                    continue
                target = Target(attempt.id, container, address or self._parts.machine.address)
                listener = Listener(self.wake, lambda text, name=attempt.container: self._unhealthy(text, name))  # type: ignore[misc]
                ready = attempt.id in self._was_ready
                self._prober.watch(target, attempt.started_at, listener, ready=ready)
            health = self._prober.health(attempt.id)
            if health is not None:
                found[attempt.id] = health
        return found

    def _unhealthy(self, text: str, container: str) -> None:
        if self._pod is not None:
            self._operations.tell(self._pod, "Warning", "Unhealthy", text, container)

    # Acting

    def _begin(self, key: str, work: Callable[[], Awaitable[None]]) -> None:
        if key in self._tasks:
            return
        task = asyncio.get_running_loop().create_task(self._guard(key, work), name=f"pod {self.uid} {key}")
        self._tasks[key] = task

    async def _guard(self, key: str, work: Callable[[], Awaitable[None]]) -> None:
        """Runs one action to its end; what goes wrong is kept, for the status and the next try."""
        try:
            await work()
            self._troubles.pop(key, None)
        except ActionError as error:
            self._trouble(key, error.reason, str(error))
        except (WeftError, OSError) as error:
            logger.warning("pod %s: %s: %s", self.uid, key, error)
            self._trouble(key, "FailedSync", str(error))
        except Exception as error:
            logger.exception("pod %s: %s", self.uid, key)
            self._trouble(key, "FailedSync", str(error))
        finally:
            self._tasks.pop(key, None)
            self._wake.set()

    def _trouble(self, key: str, reason: str, message: str) -> None:
        now = self._parts.clock.now()
        before = self._troubles.get(key)
        count = before.count + 1 if before is not None and before.reason == reason else 1
        first, most = (10.0, 300.0) if reason in _IMAGE_REASONS else (0.5, 30.0)
        self._troubles[key] = Trouble(reason, message, now, now + min(first * 2 ** min(count - 1, 10), most), count)

    async def _do(self, action: Action, pod: Object | None) -> None:
        if isinstance(action, MountVolumes):
            self._stale = False
        await self._operations.do(action, pod)
        if isinstance(action, MountVolumes):
            self._mounted = True
            self._begin("refresh", self._refresh)

    async def _refresh(self) -> None:
        """Volumes follow what they are made from; a change that comes meanwhile is followed too."""
        while self._stale and self._pod is not None and not self._stopping.is_set():
            self._stale = False
            try:
                await asyncio.to_thread(self._parts.volumes.refresh, self._operations.source(self._pod))
            except WeftError as error:
                logger.info("pod %s: cannot refresh: %s", self.uid, error)

    # Reporting

    def _publish(self) -> None:
        """Has the status written, now or as soon as the write under way has ended; only the last one counts."""
        if (self._writing is None or self._writing.done()) and self._difference() is not None:
            self._writing = asyncio.get_running_loop().create_task(self._write(), name=f"status {self.uid}")

    def _difference(self) -> Object | None:
        if self._pod is None or self._last is None:
            return None
        seen, plan = self._last
        if _is_forgotten(self._pod, seen):
            return None
        wanted = status.build(self._pod, seen, plan, self._parts.clock.now())
        return status.patch(self._pod.get("status") or {}, wanted)

    async def _write(self) -> None:
        delay = 0.1
        written: Object | None = None
        while (changes := self._difference()) is not None and self._pod is not None:
            if changes == written:
                logger.warning("the API does not keep what is written of pod %s: %s", self.uid, changes)
                return
            metadata = self._pod["metadata"]
            body = {"metadata": {"uid": self.uid}, "status": changes}
            try:
                answer = await self._parts.client.patch(
                    PODS,
                    metadata["name"],
                    body,
                    "application/strategic-merge-patch+json",
                    metadata["namespace"],
                    subresource="status",
                    field_manager="weft-node",
                )
            except ApiError as error:
                if error.code in (404, 409):
                    return  # it is gone; the watch will say so
                logger.warning("cannot write the status of pod %s: %s", self.uid, error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 10.0)
            except WeftError as error:
                logger.info("cannot write the status of pod %s: %s", self.uid, error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 10.0)
            else:
                written = changes
                if self._pod is not None and answer["metadata"]["uid"] == self.uid:
                    if _version(answer) >= _version(self._pod):
                        self._pod = answer
                    self._wake.set()


def _version(pod: Object) -> int:
    try:
        return int(pod["metadata"]["resourceVersion"])
    except (KeyError, ValueError):
        return 0


def _ready_containers(pod: Object | None) -> frozenset[str]:
    """Ids of the containers that the API believes ready: a restart of the node must not make them unready."""
    statuses = ((pod or {}).get("status") or {}).get("containerStatuses") or []
    return frozenset(each.get("containerID", "").partition("://")[2] for each in statuses if each.get("ready"))


def _remember_lost(pod: Object, attempts: dict[str, list[Attempt]], busy: dict[str, Any]) -> None:
    """A container that the API knows of but the engine no longer has (removed behind our back): it has ended."""
    known = pod.get("status") or {}
    for each in [*(known.get("containerStatuses") or []), *(known.get("initContainerStatuses") or [])]:
        name, id = each["name"], each.get("containerID", "").partition("://")[2]
        if not id or attempts.get(name) or f"container:{name}" in busy:
            continue
        state = each.get("state") or {}
        ended = state.get("terminated") or (each.get("lastState") or {}).get("terminated")
        if ended is None or ended.get("containerID", "").partition("://")[2] != id:
            text = "The container could not be located when the pod was terminated"
            ended = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": text}
        attempts[name] = [
            Attempt(
                container=name,
                number=int(each.get("restartCount") or 0),
                id=id,
                state=State.EXITED,
                image_id=each.get("imageID", ""),
                exit_code=int(ended.get("exitCode") or 0),
                started_at=parse_rfc3339(ended["startedAt"]) if ended.get("startedAt") else 0.0,
                finished_at=parse_rfc3339(ended["finishedAt"]) if ended.get("finishedAt") else 0.0,
                reason=ended.get("reason", ""),
                message=ended.get("message", ""),
            )
        ]


def _is_forgotten(pod: Object, seen: Observation) -> bool:
    """While a pod is taken down its containers vanish one by one: the status keeps what it last said of them."""
    if not pod["metadata"].get("deletionTimestamp"):
        return False
    known = (pod.get("status") or {}).get("containerStatuses") or []
    return any(each.get("containerID") and not seen.attempts.get(each["name"]) for each in known)
