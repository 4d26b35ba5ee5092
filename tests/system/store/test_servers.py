"""Real server processes killed under load: one alone on its file, and one of two that share an etcd."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
from etcd_process import etcd
from load import Load
from server_process import Server

from weft.api.gvr import CONFIGMAPS, DEPLOYMENTS, ENDPOINTS, PODS
from weft.api.status import ApiError
from weft.client.base import Client
from weft.client.election import LEASES
from weft.client.http import HttpClient
from weft.core.errors import UnavailableError


async def config_maps(client: Client) -> dict[str, str]:
    found = await client.list(CONFIGMAPS, "default")
    return {item["metadata"]["name"]: item["metadata"]["uid"] for item in found.items}


async def test_a_server_killed_under_load_has_lost_nothing(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.start()
    try:
        client = await server.ready()
        load = Load([client])
        await load.start()
        for _ in range(3):
            await load.acknowledge(150)
            server.kill()
            server.start()
        await load.acknowledge(50)
        await load.finish()
        load.check(await config_maps(client))
        assert load.failures
        assert not load.expired  # its history outlives it: watches go on where they were
        await client.close()
        assert server.stop() == 0
    finally:
        server.kill()


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": name}, "spec": spec}


async def pods_of(client: Client, app: str) -> int:
    try:
        return len((await client.list(PODS, "default", label_selector=f"app={app}")).items)
    except (ApiError, UnavailableError):
        return 0


async def holder(client: Client) -> str:
    return str((await client.get(LEASES, "weft-controllers", "kube-system"))["spec"]["holderIdentity"])


async def until_pods(client: Client, app: str, seconds: float) -> None:
    for _ in range(round(seconds * 10)):
        if await pods_of(client, app) == 2:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"no controller made the pods of {app}")


async def test_one_of_two_servers_killed_under_load(tmp_path: Path) -> None:
    with etcd() as member:
        await member.answers()
        options = ["--store", f"etcd://{member.endpoint}", "--service-subnet", "10.143.0.0/16"]
        first, second = Server(tmp_path / "first", *options), Server(tmp_path / "second", *options)
        clients: list[HttpClient] = []
        try:
            first.start()
            clients.append(await first.ready())
            second.trust(first)
            second.start()
            clients.append(await second.ready())
            one, two = clients
            await two.create(DEPLOYMENTS, deployment("before"), "default")
            await until_pods(one, "before", 10)
            led = await holder(two)

            load = Load(clients)
            await load.start()
            await load.acknowledge(300)
            first.kill()
            await two.create(DEPLOYMENTS, deployment("after"), "default")
            await load.acknowledge(300)
            await load.finish()
            assert load.failures
            assert not load.expired
            load.check(await config_maps(two))

            await _while_etcd_is_away(two, member.endpoint, member.send)
            await until_pods(two, "after", 30)
            assert await holder(two) != led
            endpoints = await two.get(ENDPOINTS, "kubernetes", "default")
            assert endpoints["subsets"][0]["ports"][0]["port"] == second.settings.api_port

            # A server that comes back sees it all, and leaves the work to the one that has it.
            await one.close()
            first.start()
            one = clients[0] = await first.ready()
            assert await config_maps(one) == await config_maps(two)
            await two.create(DEPLOYMENTS, deployment("third"), "default")
            await until_pods(one, "third", 10)
            leading = await holder(one)
            assert second.stop() == 0  # gives the lease back, so that nobody waits for it to run out
            for _ in range(50):
                if await holder(one) not in ("", leading):
                    break
                await asyncio.sleep(0.1)
            assert await holder(one) not in ("", leading)
            assert first.stop() == 0
        finally:
            for client in clients:
                await client.close()
            first.kill()
            second.kill()


async def _while_etcd_is_away(client: HttpClient, endpoint: str, send: Any) -> None:
    """Reads of the newest state and writes fail as Kubernetes says it; what the cache may answer, it does."""
    send(signal.SIGSTOP)
    try:
        reading = asyncio.create_task(client.list(CONFIGMAPS, "default"))
        writing = asyncio.create_task(client.create(CONFIGMAPS, {"metadata": {"name": "lost"}}, "default"))
        path = "/api/v1/namespaces/default/configmaps?resourceVersion=0&limit=1"
        async with client._open().get(client.server + path) as response:
            assert response.status == 200
        for task in (reading, writing):
            with pytest.raises(ApiError) as failed:
                await task
            assert (failed.value.code, failed.value.reason) in ((503, "ServiceUnavailable"), (504, "Timeout"))
    finally:
        send(signal.SIGCONT)
    for _ in range(100):
        try:
            await client.list(CONFIGMAPS, "default")
            return
        except ApiError:
            await asyncio.sleep(0.1)
    raise AssertionError("the server did not find etcd again")
