"""/_ping, /version, /info, /events, /auth, /system/df."""

import asyncio
import json
import os
import platform
import time
from typing import Any

from aiohttp import web

from weft.container.base import EngineEvent
from weft.container.engine import Engine
from weft.container.runtime import cgroups
from weft.container.spec import State
from weft.dockerapi import shapes, version
from weft.dockerapi.requests import Filters, filters, json_body, labels_match, point_in_time, rfc3339_nano

_FILTERS = frozenset(("container", "daemon", "event", "image", "label", "network", "node", "scope", "type", "volume"))
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def routes(engine: Engine) -> list[web.RouteDef]:
    handlers = Handlers(engine)
    return [
        web.get("/_ping", handlers.ping, allow_head=False),
        web.head("/_ping", handlers.ping),
        web.get("/version", handlers.version),
        web.get("/info", handlers.info),
        web.get("/events", handlers.events),
        web.post("/auth", handlers.auth),
        web.get("/system/df", handlers.disk_usage),
    ]


class Handlers:
    """One method a route."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def ping(self, request: web.Request) -> web.Response:
        headers = {"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache", "Builder-Version": "1"}
        return web.Response(text="" if request.method == "HEAD" else "OK", headers=headers)

    async def version(self, request: web.Request) -> web.Response:
        facts = {
            "Version": version.WEFT_VERSION,
            "ApiVersion": version.API_VERSION,
            "MinAPIVersion": version.MIN_API_VERSION,
            "GitCommit": "",
            "GoVersion": "",
            "Os": "linux",
            "Arch": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "KernelVersion": platform.release(),
            "BuildTime": "",
        }
        details = {
            key: str(facts[key]) for key in ("ApiVersion", "MinAPIVersion", "Os", "Arch", "KernelVersion", "GitCommit")
        }
        component = {"Name": "Engine", "Version": version.WEFT_VERSION, "Details": details}
        return web.json_response({"Platform": {"Name": "Weft"}, "Components": [component], **facts})

    async def info(self, request: web.Request) -> web.Response:
        engine = self._engine
        states = [container.state for container in engine.containers.list()]
        return web.json_response(
            {
                "ID": engine.settings.instance,
                "Name": platform.node(),
                "ServerVersion": version.WEFT_VERSION,
                "Containers": len(states),
                "ContainersRunning": states.count(State.RUNNING),
                "ContainersPaused": states.count(State.PAUSED),
                "ContainersStopped": len(states) - states.count(State.RUNNING) - states.count(State.PAUSED),
                "Images": len(engine.images.list()),
                "Driver": "overlay2",
                "DriverStatus": [],
                "Plugins": {"Volume": ["local"], "Network": ["bridge", "host", "null"], "Log": ["json-file"]},
                "MemoryLimit": True,
                "SwapLimit": True,
                "CpuCfsPeriod": True,
                "CpuCfsQuota": True,
                "CPUShares": True,
                "CPUSet": True,
                "PidsLimit": True,
                "IPv4Forwarding": True,
                "LoggingDriver": "json-file",
                "CgroupDriver": "cgroupfs",
                "CgroupVersion": "2" if cgroups.is_unified() else "1",
                "KernelVersion": platform.release(),
                "OperatingSystem": "Weft",
                "OSType": "linux",
                "Architecture": platform.machine(),
                "NCPU": os.cpu_count() or 1,
                "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
                "DockerRootDir": str(engine.settings.paths.lib),
                "IndexServerAddress": "https://index.docker.io/v1/",
                "RegistryConfig": {"IndexConfigs": {}, "InsecureRegistryCIDRs": ["127.0.0.0/8"], "Mirrors": []},
                "Runtimes": {engine.runtime.name: {"path": engine.runtime.path}},
                "DefaultRuntime": engine.runtime.name,
                "Swarm": {"LocalNodeState": "inactive"},
                "SecurityOptions": ["name=seccomp,profile=builtin"],
                "Debug": False,
                "ExperimentalBuild": False,
                "NFd": len(os.listdir("/proc/self/fd")),
                "NGoroutines": len(asyncio.all_tasks()),
                "NEventsListener": 0,
                "HttpProxy": "",
                "HttpsProxy": "",
                "NoProxy": "",
                "Labels": [],
                "BridgeNfIptables": False,
                "BridgeNfIp6tables": False,
                "OomKillDisable": False,
                "LiveRestoreEnabled": True,
                "SystemTime": rfc3339_nano(time.time()),
                "Warnings": None,
            }
        )

    async def auth(self, request: web.Request) -> web.Response:
        """Credentials are the client's to keep; they are tried when they are used."""
        await json_body(request)
        return web.json_response({"Status": "Login Succeeded", "IdentityToken": ""})

    async def disk_usage(self, request: web.Request) -> web.Response:
        engine, now = self._engine, time.time()
        containers = [
            shapes.summary(container, engine.containers.image_of(container.id), None, engine.volumes, now)
            | {"SizeRw": 0, "SizeRootFs": 0}
            for container in engine.containers.list()
        ]
        volumes = [
            {"Name": volume.name, "Driver": "local", "Mountpoint": str(engine.volumes.data(volume.name)),
             "Labels": dict(volume.labels), "Scope": "local", "Options": None,
             "UsageData": {"RefCount": -1, "Size": -1}}
            for volume in engine.volumes.list()
        ]  # fmt: skip
        images = [
            {"Id": image.id, "RepoTags": list(image.references), "RepoDigests": list(image.repo_digests),
             "Created": int(image.created_at), "Size": image.size, "SharedSize": -1, "ParentId": "", "Labels": {},
             "Containers": sum(1 for entry in engine.containers.list() if entry.image_id == image.id)}
            for image in engine.images.list()
        ]  # fmt: skip
        layers = sum(image["Size"] for image in images if isinstance(image["Size"], int))
        return web.json_response(
            {"LayersSize": layers, "Images": images, "Containers": containers, "Volumes": volumes, "BuildCache": []}
        )

    async def events(self, request: web.Request) -> web.StreamResponse:
        wanted = filters(request, _FILTERS)
        since, until = (point_in_time(request.query.get(name)) for name in ("since", "until"))
        subscription = self._engine.events.subscribe(since or None)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b"")
        while True:
            try:
                timeout = max(0.0, until - time.time()) if until else None
                event = await asyncio.wait_for(anext(subscription), timeout)
            except TimeoutError:
                return response
            if until and event.time > until:
                return response
            if _matches(event, wanted):
                await response.write(json.dumps(_event(event)).encode() + b"\n")


def _event(event: EngineEvent) -> dict[str, Any]:
    return {
        **({"status": event.action, "id": event.id} if event.type in ("container", "image") else {}),
        **({"from": event.attributes.get("image", "")} if event.type == "container" else {}),
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": dict(event.attributes)},
        "scope": "local",
        "time": int(event.time),
        "timeNano": int(event.time * 1_000_000_000),
    }


def _matches(event: EngineEvent, wanted: Filters) -> bool:
    for name, values in wanted.items():
        match name:
            case "type":
                fits = event.type in values
            case "event":
                fits = event.action in values or event.action.partition(":")[0] in values
            case "label":
                fits = labels_match(values, event.attributes)
            case "scope":
                fits = "local" in values
            case _:
                own = (event.id, event.id[:12], event.attributes.get("name"))
                fits = (event.type == name and any(key in values for key in own)) or (
                    name == "image" and event.attributes.get("image") in values
                )
        if not fits:
            return False
    return True
