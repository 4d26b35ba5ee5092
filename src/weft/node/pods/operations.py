"""The doing: each action of a plan as a coroutine over engine, network, volumes and API.

In: an action and the pod. Out: nothing, or ActionError with the reason that the pod's status shows. What is interrupted
may be done again: `decide` looks at what is there, not at what was tried.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from weft.api.gvr import PODS, SECRETS
from weft.api.status import ApiError
from weft.client.base import Client, Object
from weft.client.recorder import Recorder
from weft.container.base import Containers, Credentials
from weft.container.spec import Mount, State
from weft.core.clock import Clock
from weft.core.errors import ConflictError, NotFoundError, WeftError
from weft.core.sandbox import Networking
from weft.core.settings import Settings
from weft.node.environment import data_of, environment, expand
from weft.node.fields import ConfigError, Facts
from weft.node.handlers import Handlers, Target
from weft.node.images import ImageError, Puller, credentials_for, default_policy
from weft.node.pods import specs
from weft.node.pods.decide import is_host_network
from weft.node.pods.model import (
    Action,
    CreateSandbox,
    DeletePod,
    KillContainer,
    MountVolumes,
    RemoveContainer,
    RemoveSandbox,
    RemoveVolumes,
    RunContainer,
    StartContainer,
    StopContainer,
)
from weft.node.references import Reference, References
from weft.node.volumes.manager import Volumes
from weft.node.volumes.payload import Source, VolumeError

_HOOK_SECONDS = 30.0


class ActionError(WeftError):
    """`reason` is what a container's waiting state, or the pod's event, is called."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Machine:
    """What pods need to know of the node."""

    address: str
    memory: int
    allocatable: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Parts:
    """What all pods of the node share. `services` lists those that are known now."""

    settings: Settings
    client: Client
    containers: Containers
    networking: Networking
    puller: Puller
    volumes: Volumes
    references: References
    handlers: Handlers
    recorder: Recorder
    services: Callable[[], Sequence[Object]]
    clock: Clock
    machine: Machine


class Operations:
    """The actions of one pod. `stopping` is set once the pod is to go: what only prepares then gives up."""

    def __init__(self, parts: Parts, uid: str, stopping: asyncio.Event) -> None:
        self._parts, self._uid, self._stopping = parts, uid, stopping

    async def do(self, action: Action, pod: Object | None) -> None:
        parts = self._parts
        match action:
            case RemoveSandbox():
                await parts.networking.remove(self._uid)
            case RemoveVolumes(all=everything):
                await asyncio.to_thread(parts.volumes.remove, self._uid, everything=everything)
            case StopContainer():
                await self._stop(action, pod)
            case KillContainer(id=id):
                with contextlib.suppress(ConflictError, NotFoundError):  # it has ended meanwhile
                    await parts.containers.kill(id, "SIGKILL")
            case RemoveContainer(id=id):
                with contextlib.suppress(NotFoundError):
                    await parts.containers.remove(id, force=True, volumes=True)
            case _ if pod is None:
                raise AssertionError(f"{action} needs a pod")
            case CreateSandbox():
                await self._create_sandbox(pod)
            case MountVolumes():
                await self._mount(pod)
            case RunContainer():
                await self._run(action, pod)
            case StartContainer(container=name, id=id):
                await self._start(pod, container_of(pod, name), id)
            case DeletePod():
                await self._delete(pod)

    def tell(self, pod: Object, kind: Literal["Normal", "Warning"], reason: str, message: str, name: str = "") -> None:
        """An event about the pod, or about its container `name`."""
        path = ""
        if name:
            init = any(each["name"] == name for each in pod["spec"].get("initContainers") or [])
            path = f"spec.{'initContainers' if init else 'containers'}{{{name}}}"
        self._parts.recorder.event(pod, kind, reason, message, field_path=path)

    def source(self, pod: Object) -> Source:
        return Source(pod, self._facts(), self._parts.references.get)

    def _facts(self) -> Facts:
        sandbox, machine = self._parts.networking.get(self._uid), self._parts.machine
        return Facts(machine.address, sandbox.address if sandbox is not None else machine.address, machine.allocatable)

    # The pod's own

    async def _create_sandbox(self, pod: Object) -> None:
        try:
            await self._parts.networking.create(self._uid, specs.host_ports(pod))
        except (WeftError, OSError) as error:
            message = f"Failed to create pod sandbox: {error}"
            self.tell(pod, "Warning", "FailedCreatePodSandBox", message)
            raise ActionError("FailedCreatePodSandBox", message) from error

    async def _mount(self, pod: Object) -> None:
        try:
            await asyncio.to_thread(self._parts.volumes.mount, self.source(pod))
        except VolumeError as error:
            self.tell(pod, "Warning", "FailedMount", str(error))
            raise ActionError("FailedMount", str(error)) from error

    async def _delete(self, pod: Object) -> None:
        metadata = pod["metadata"]
        try:
            await self._parts.client.delete(
                PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"], grace_period_seconds=0
            )
        except ApiError as error:
            if error.code not in (404, 409):  # gone, or another pod has its name already
                raise

    # Containers

    async def _run(self, action: RunContainer, pod: Object) -> None:
        container = container_of(pod, action.container)
        name = container["name"]
        image_user = await self._image(pod, container)
        if self._stopping.is_set():
            return
        try:
            env = environment(pod, container, self._facts(), self._parts.references.get, self._parts.services())
            mounts = await asyncio.to_thread(self._mounts, pod, container, env, action.number)
            spec = specs.container_spec(pod, container, self._around(pod, container, action, env, mounts, image_user))
        except (ConfigError, VolumeError, ValueError) as error:
            self.tell(pod, "Warning", "Failed", f"Error: {error}", name)
            raise ActionError("CreateContainerConfigError", str(error)) from error
        try:
            made = await self._parts.containers.create(spec)
        except (WeftError, OSError) as error:
            self.tell(pod, "Warning", "Failed", f"Error: {error}", name)
            raise ActionError("CreateContainerError", str(error)) from error
        self.tell(pod, "Normal", "Created", f"Created container: {name}", name)
        await self._start(pod, container, made.id)

    async def _image(self, pod: Object, container: Mapping[str, Any]) -> str:
        """Makes sure of the image; returns its user. Gives up when the pod is to go."""
        reference, name = container.get("image") or "", container["name"]
        ensure = asyncio.ensure_future(
            self._parts.puller.ensure(
                reference,
                container.get("imagePullPolicy") or default_policy(reference),
                self._credentials(pod, reference),
                lambda kind, reason, message: self.tell(pod, kind, reason, message, name),
            )
        )
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({ensure, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not ensure.done():
                return ""
            config = (await ensure).config.get("config") or {}
            return str(config.get("User") or "")
        except ImageError as error:
            raise ActionError(error.reason, str(error)) from error
        finally:
            ensure.cancel()
            stopping.cancel()

    def _credentials(self, pod: Object, reference: str) -> Credentials | None:
        secrets = []
        for each in pod["spec"].get("imagePullSecrets") or []:
            found = self._parts.references.get(Reference(SECRETS, pod["metadata"]["namespace"], each.get("name", "")))
            if found is not None:
                secrets.append(data_of(found))
        return credentials_for(reference, secrets)

    def _around(
        self,
        pod: Object,
        container: Mapping[str, Any],
        action: RunContainer,
        env: Mapping[str, str],
        mounts: tuple[Mount, ...],
        image_user: str,
    ) -> specs.Surroundings:
        parts = self._parts
        sandbox = parts.networking.get(self._uid)
        return specs.Surroundings(
            image=container.get("image") or "",
            image_user=image_user,
            attempt=action.number,
            failures=action.failures,
            env=env,
            mounts=mounts,
            netns_path=sandbox.netns_path if sandbox is not None else "",
            hostname=specs.hostname(pod),
            nameserver=parts.networking.nameserver,
            cluster_domain=parts.settings.cluster_domain,
            machine_memory=parts.machine.memory,
            host_resolver=_host_resolver(),
        )

    def _mounts(
        self, pod: Object, container: Mapping[str, Any], env: Mapping[str, str], number: int
    ) -> tuple[Mount, ...]:
        """Volumes, the termination message's file, /etc/hosts. Blocks; raises ConfigError, VolumeError."""
        volumes, name = self._parts.volumes, container["name"]
        found = []
        kinds = {each["name"]: each for each in pod["spec"].get("volumes") or []}
        for index, mount in enumerate(container.get("volumeMounts") or []):
            path = volumes.path(pod, mount["name"])
            sub_path = mount.get("subPath") or expand(mount.get("subPathExpr") or "", env)
            if sub_path:
                path = volumes.sub_path(pod, name, index, path, sub_path)
            volume = kinds[mount["name"]]
            fixed = any(volume.get(kind) for kind in ("configMap", "secret", "projected", "downwardAPI"))
            found.append(specs.volume_mount(mount, str(path), read_only=fixed))
        targets = {mount.target for mount in found}
        message_path = container.get("terminationMessagePath") or "/dev/termination-log"
        if message_path not in targets:
            found.append(Mount(message_path, str(volumes.message_file(self._uid, name, number))))
        if not is_host_network(pod) and "/etc/hosts" not in targets:
            sandbox = self._parts.networking.get(self._uid)
            full = specs.fully_qualified(pod, self._parts.settings.cluster_domain)
            address = sandbox.address if sandbox is not None else "127.0.0.1"
            found.append(Mount("/etc/hosts", str(volumes.hosts_file(pod, full, address))))
        return tuple(found)

    async def _start(self, pod: Object, container: Mapping[str, Any], id: str) -> None:
        name = container["name"]
        try:
            await self._parts.containers.start(id)
        except (WeftError, OSError) as error:
            # The engine's record keeps the error: it shows as a container that has ended with StartError.
            self.tell(pod, "Warning", "Failed", f"Error: {error}", name)
            return
        self.tell(pod, "Normal", "Started", f"Started container {name}", name)
        hook = (container.get("lifecycle") or {}).get("postStart")
        if hook:
            result = await self._parts.handlers.run(_handler(hook), self._target(container, id), _HOOK_SECONDS)
            if not result.success:
                self.tell(pod, "Warning", "FailedPostStartHook", f"PostStartHook failed: {result.message}", name)
                self.tell(pod, "Normal", "Killing", "FailedPostStartHook", name)
                await self._parts.containers.stop(id, 2.0)

    async def _stop(self, action: StopContainer, pod: Object | None) -> None:
        grace = action.grace
        container = None
        if pod is not None:
            with contextlib.suppress(StopIteration):
                container = container_of(pod, action.container)
            self.tell(pod, "Normal", "Killing", action.why, action.container)
        hook = ((container or {}).get("lifecycle") or {}).get("preStop")
        if hook and container is not None and pod is not None and grace > 0:
            began = self._parts.clock.monotonic()
            result = await self._parts.handlers.run(_handler(hook), self._target(container, action.id), grace)
            grace = max(grace - (self._parts.clock.monotonic() - began), 2.0)
            if not result.success:
                message = f"PreStopHook failed: {result.message}"
                self.tell(pod, "Warning", "FailedPreStopHook", message, action.container)
        with contextlib.suppress(NotFoundError):
            if self._parts.containers.get(action.id).state is State.PAUSED:
                await self._parts.containers.unpause(action.id)
            await self._parts.containers.stop(action.id, grace)

    def _target(self, container: Mapping[str, Any], id: str) -> Target:
        return Target(id, container, self._facts().address)


def container_of(pod: Object, name: str) -> Mapping[str, Any]:
    """The specification of a container; raises StopIteration."""
    spec = pod["spec"]
    both = [*spec["containers"], *(spec.get("initContainers") or [])]
    found: Mapping[str, Any] = next(each for each in both if each["name"] == name)
    return found


def _handler(hook: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in hook.items() if value is not None}


def _host_resolver() -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    try:
        return specs.read_resolv_conf(Path("/etc/resolv.conf").read_text())
    except OSError:
        return (), (), ()
