"""The image of a container, by its pull policy; one pull at a time for each image, whoever asks.

Source of reasons and messages: kubernetes `pkg/kubelet/images/image_manager.go`. The back-off between pulls is the
pod worker's, as for every trouble.
"""

import asyncio
import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from weft.container.base import Credentials, Image, Images
from weft.core.errors import InvalidError, NotFoundError, WeftError

Tell = Callable[[Literal["Normal", "Warning"], str, str], None]


class ImageError(WeftError):
    """The image cannot be had; `reason` is the container's waiting reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Puller:
    """Asks the engine for images on behalf of pods."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._pulls: dict[tuple[str, Credentials | None], asyncio.Task[Image]] = {}

    async def ensure(self, reference: str, policy: str, credentials: Credentials | None, tell: Tell) -> Image:
        """The image, pulled if the policy wants it so; `tell` gets the pod's events. Raises ImageError."""
        present = self._present(reference, tell)
        if present is not None and policy in ("IfNotPresent", "Never"):
            tell("Normal", "Pulled", f'Container image "{reference}" already present on machine')
            return present
        if policy == "Never":
            message = f'Container image "{reference}" is not present with pull policy of Never'
            tell("Warning", "ErrImageNeverPull", message)
            raise ImageError("ErrImageNeverPull", message)
        tell("Normal", "Pulling", f'Pulling image "{reference}"')
        began = time.monotonic()
        try:
            image = await self._pull(reference, credentials)
        except InvalidError as error:
            raise self._invalid(reference, error, tell) from error
        except (WeftError, OSError) as error:
            tell("Warning", "Failed", f'Failed to pull image "{reference}": {error}')
            tell("Warning", "Failed", "Error: ErrImagePull")
            raise ImageError("ErrImagePull", str(error)) from error
        seconds = time.monotonic() - began
        text = f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.3f}s"
        message = f'Successfully pulled image "{reference}" in {text} ({text} including waiting). '
        tell("Normal", "Pulled", f"{message}Image size: {image.size} bytes.")
        return image

    def _present(self, reference: str, tell: Tell) -> Image | None:
        try:
            return self._images.resolve(reference)
        except NotFoundError:
            return None
        except InvalidError as error:
            raise self._invalid(reference, error, tell) from error

    def _invalid(self, reference: str, error: Exception, tell: Tell) -> ImageError:
        message = f'Failed to apply default image tag "{reference}": couldn\'t parse image name "{reference}": {error}'
        tell("Warning", "InspectFailed", message)
        return ImageError("InvalidImageName", message)

    async def _pull(self, reference: str, credentials: Credentials | None) -> Image:
        """Joins a pull that is under way; it goes on while anybody waits for it."""
        key = (reference, credentials)
        task = self._pulls.get(key)
        if task is None:
            task = asyncio.create_task(self._images.pull(reference, credentials=credentials), name=f"pull {reference}")
            self._pulls[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    def _forget(self, key: tuple[str, Credentials | None], task: "asyncio.Task[Image]") -> None:
        self._pulls.pop(key, None)
        if not task.cancelled():
            task.exception()  # whoever waited has seen it; nobody may have waited

    async def close(self) -> None:
        tasks = list(self._pulls.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def default_policy(reference: str) -> str:
    """Always for a tag that moves, else IfNotPresent."""
    last = reference.rsplit("/", 1)[-1]
    if "@" in last:
        return "IfNotPresent"
    return "Always" if last.partition(":")[2] in ("", "latest") else "IfNotPresent"


def credentials_for(reference: str, secrets: Sequence[Mapping[str, bytes]]) -> Credentials | None:
    """What the pod's pull secrets (by key) have for the image's registry: `.dockerconfigjson` or `.dockercfg`."""
    first = reference.split("/", 1)[0]
    host = first if "/" in reference and ("." in first or ":" in first or first == "localhost") else "docker.io"
    names = {host} if host != "docker.io" else {"docker.io", "index.docker.io", "registry-1.docker.io"}
    for secret in secrets:
        for key in (".dockerconfigjson", ".dockercfg"):
            try:
                config: Any = json.loads(secret.get(key, b"null"))
            except ValueError:
                continue
            entries = config.get("auths") if isinstance(config, dict) and key == ".dockerconfigjson" else config
            for server, entry in (entries or {}).items():
                if server.removeprefix("https://").removeprefix("http://").split("/", 1)[0] in names:
                    return _credentials(entry)
    return None


def _credentials(entry: Mapping[str, str]) -> Credentials:
    user, password = entry.get("username", ""), entry.get("password", "")
    if not user and entry.get("auth"):
        user, _, password = base64.b64decode(entry["auth"]).decode(errors="replace").partition(":")
    return Credentials(user, password, entry.get("identitytoken", ""))
