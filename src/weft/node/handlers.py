"""Asking a container something: exec, httpGet, tcpSocket; for probes and for lifecycle hooks.

In: a handler as it stands in the specification and the container it concerns. Out: success and what was said.
Messages are the kubelet's (kubernetes, `pkg/probe/{exec,http,tcp}`).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from weft.container.base import Containers, ExecSpec
from weft.core.errors import WeftError
from weft.node.probes import Result

_BODY_LIMIT = 10 * 1024
_AGENT = "kube-probe/1.32"


@dataclass(frozen=True, slots=True)
class Target:
    """A running container, its specification and the address under which the node reaches it."""

    id: str
    container: Mapping[str, Any]
    address: str


class Handlers:
    """Runs handlers; one HTTP session for all."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def run(self, handler: Mapping[str, Any], target: Target, timeout: float) -> Result:
        """Never raises but for cancellation: what goes wrong is a failure with its cause."""
        try:
            async with asyncio.timeout(timeout):
                if "exec" in handler:
                    return await self._exec(handler["exec"].get("command") or [], target)
                if "httpGet" in handler:
                    return await self._http(handler["httpGet"], target)
                if "tcpSocket" in handler:
                    return await self._tcp(handler["tcpSocket"], target)
                if "sleep" in handler:
                    await asyncio.sleep(float(handler["sleep"].get("seconds") or 0))
                    return Result(True)
        except TimeoutError:
            if "exec" in handler:
                command = " ".join(handler["exec"].get("command") or [])
                return Result(False, f'command "{command}" timed out after {timeout:g}s')
            return Result(False, f"context deadline exceeded after {timeout:g}s")
        except (WeftError, OSError, aiohttp.ClientError, ValueError) as error:
            return Result(False, str(error) or type(error).__name__)
        return Result(False, f"unsupported handler: {', '.join(handler) or 'none'}")

    async def _exec(self, command: list[str], target: Target) -> Result:
        stream = await self._containers.exec(target.id, ExecSpec(tuple(command)))
        said = bytearray()
        try:
            while (piece := await stream.read()) is not None:
                said += piece[1][: _BODY_LIMIT - len(said)]
            code = await stream.wait()
        finally:
            await stream.close()
        return Result(code == 0, said.decode(errors="replace"))

    async def _http(self, handler: Mapping[str, Any], target: Target) -> Result:
        port = port_number(handler.get("port"), target.container)
        scheme = str(handler.get("scheme") or "HTTP").lower()
        host = handler.get("host") or target.address
        path = handler.get("path") or "/"
        url = f"{scheme}://{host}:{port}{path if path.startswith('/') else '/' + path}"
        headers = {"User-Agent": _AGENT, "Accept": "*/*"}
        headers |= {each["name"]: each["value"] for each in handler.get("httpHeaders") or []}
        if self._session is None:
            connector = aiohttp.TCPConnector(force_close=True, limit=0)
            self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        try:
            async with self._session.get(url, headers=headers, allow_redirects=False, ssl=False) as answer:
                body = await answer.content.read(_BODY_LIMIT)
                if 200 <= answer.status < 400:
                    return Result(True, body.decode(errors="replace"))
                return Result(False, f"HTTP probe failed with statuscode: {answer.status}")
        except (aiohttp.ClientError, OSError) as error:
            return Result(False, f'Get "{url}": {error}')

    async def _tcp(self, handler: Mapping[str, Any], target: Target) -> Result:
        host = handler.get("host") or target.address
        port = port_number(handler.get("port"), target.container)
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError as error:
            return Result(False, f"dial tcp {host}:{port}: {error.strerror or error}")
        writer.close()
        return Result(True)


def port_number(port: Any, container: Mapping[str, Any]) -> int:
    """A number, or the number that the container gave a name. Raises ValueError."""
    if isinstance(port, int):
        return port
    for each in container.get("ports") or []:
        if each.get("name") == port:
            return int(each["containerPort"])
    try:
        return int(port)
    except (TypeError, ValueError):
        raise ValueError(f"couldn't find port: {port}") from None
