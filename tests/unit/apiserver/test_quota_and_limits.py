"""ResourceQuota, LimitRange and PriorityClass as admission and the quota controller apply them."""

import asyncio
import contextlib
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.api.gvr import CONFIGMAPS, GVR, NAMESPACES, PERSISTENTVOLUMECLAIMS, PODS, SECRETS, SERVICES
from weft.api.status import ApiError
from weft.api.usage import pod_resources, text, usage
from weft.apiserver.admission.limits import LIMITRANGES
from weft.apiserver.admission.pod import PRIORITYCLASSES
from weft.apiserver.admission.quota import QUOTAS
from weft.controllers.quota import QuotaController
from weft.controllers.runner import Context, run_controllers
from weft.testing.apiserver import RunningServer

MERGE = "application/merge-patch+json"


def pod(name: str, requests: Any = None, limits: Any = None, **spec: Any) -> dict[str, Any]:
    resources = {key: value for key, value in (("requests", requests), ("limits", limits)) if value}
    container = {"name": "main", "image": "i", "resources": resources}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


async def quota(server: RunningServer, namespace: str, name: str = "q", **spec: Any) -> None:
    await server.client.create(QUOTAS, {"metadata": {"name": name}, "spec": spec}, namespace)


async def used(server: RunningServer, namespace: str, name: str = "q") -> dict[str, str]:
    return dict((await server.client.get(QUOTAS, name, namespace))["status"]["used"])


async def refused(server: RunningServer, gvr: GVR, obj: dict[str, Any], namespace: str) -> str:
    with pytest.raises(ApiError) as caught:
        await server.client.create(gvr, obj, namespace)
    assert (caught.value.reason, caught.value.code) == ("Forbidden", 403)
    return caught.value.message


async def test_counts(server: RunningServer, namespace: str) -> None:
    await server.client.create(CONFIGMAPS, {"metadata": {"name": "before"}}, namespace)
    hard = {"configmaps": "2", "count/secrets": "1", "services": "2", "services.nodeports": "1", "resourcequotas": "1"}
    await quota(server, namespace, hard=hard)
    zero = {"configmaps": "1", "count/secrets": "0", "services": "0", "services.nodeports": "0", "resourcequotas": "1"}
    assert await used(server, namespace) == zero
    await server.client.create(CONFIGMAPS, {"metadata": {"name": "a"}}, namespace)
    assert await refused(server, CONFIGMAPS, {"metadata": {"name": "b"}}, namespace) == (
        'configmaps "b" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=2, '
        "limited: configmaps=2"
    )
    await server.client.delete(CONFIGMAPS, "a", namespace)
    assert (await used(server, namespace))["configmaps"] == "1"
    await server.client.create(SECRETS, {"metadata": {"name": "a"}}, namespace)
    assert "exceeded quota: q, requested: count/secrets=1" in await refused(
        server, SECRETS, {"metadata": {"name": "b"}}, namespace
    )
    ports = [{"name": "a", "port": 1}, {"name": "b", "port": 2}]
    service = {"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": ports}}
    assert "requested: services.nodeports=2, used: services.nodeports=0" in await refused(
        server, SERVICES, service, namespace
    )
    assert "exceeded quota: q, requested: resourcequotas=1" in await refused(
        server, QUOTAS, {"metadata": {"name": "more"}}, namespace
    )


async def test_amounts_of_pods(server: RunningServer, namespace: str) -> None:
    await quota(server, namespace, hard={"pods": "3", "requests.cpu": "1", "memory": "1Gi", "limits.cpu": "2"})
    assert await refused(server, PODS, pod("p", {"cpu": "1"}), namespace) == (
        'pods "p" is forbidden: failed quota: q: must specify limits.cpu for: main; memory for: main'
    )
    first = pod("p", {"cpu": "600m", "memory": "256Mi"}, {"cpu": "1"})
    await server.client.create(PODS, first, namespace)
    assert await used(server, namespace) == {
        "pods": "1", "requests.cpu": "600m", "memory": "256Mi", "limits.cpu": "1"
    }  # fmt: skip
    assert await refused(server, PODS, pod("r", {"cpu": "600m", "memory": "1Gi"}, {"cpu": "1"}), namespace) == (
        'pods "r" is forbidden: exceeded quota: q, requested: memory=1Gi,requests.cpu=600m, '
        "used: memory=256Mi,requests.cpu=600m, limited: memory=1Gi,requests.cpu=1"
    )
    await server.client.patch(PODS, "p", {"status": {"phase": "Succeeded"}}, MERGE, namespace, subresource="status")
    assert (await used(server, namespace))["requests.cpu"] == "0", "a pod that is over uses nothing"


async def test_scopes(server: RunningServer, namespace: str) -> None:
    await quota(server, namespace, "best", hard={"pods": "1"}, scopes=["BestEffort"])
    terms = [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]
    await server.client.create(PRIORITYCLASSES, {"metadata": {"name": "high"}, "value": 1000})
    await quota(server, namespace, "high", hard={"pods": "0"}, scopeSelector={"matchExpressions": terms})
    await server.client.create(PODS, pod("a", {"cpu": "1"}), namespace)
    await server.client.create(PODS, pod("b"), namespace)
    assert "exceeded quota: best" in await refused(server, PODS, pod("c"), namespace)
    high = pod("d", {"cpu": "1"}, priorityClassName="high")
    assert "exceeded quota: high" in await refused(server, PODS, high, namespace)


async def test_many_at_once_use_it_up_and_never_exceed(server: RunningServer, namespace: str) -> None:
    await quota(server, namespace, hard={"configmaps": "60"})

    async def attempt(index: int) -> bool:
        with contextlib.suppress(ApiError):
            await server.client.create(CONFIGMAPS, {"metadata": {"name": f"c{index}"}}, namespace)
            return True
        return False

    assert sum(await asyncio.gather(*map(attempt, range(100)))) == 60
    assert await used(server, namespace) == {"configmaps": "60"}


async def test_a_dry_run_counts_nothing(server: RunningServer, namespace: str) -> None:
    await quota(server, namespace, hard={"configmaps": "1"})
    await server.kubectl("create", "configmap", "a", "--dry-run=server", "-n", namespace)
    assert await used(server, namespace) == {"configmaps": "0"}


async def _next(server: RunningServer, namespace: str, now: str) -> dict[str, str]:
    """The status that the controller writes next."""
    async with asyncio.timeout(10):
        async for event in server.client.watch(QUOTAS, namespace, resource_version=now):
            return dict(event.object["status"]["used"])
    raise AssertionError("the watch ended")


async def test_the_controller_repairs(server: RunningServer, namespace: str) -> None:
    await quota(server, namespace, hard={"configmaps": "5"})
    await server.client.create(CONFIGMAPS, {"metadata": {"name": "a"}}, namespace)
    wrong = {"status": {"used": {"configmaps": "4"}}}
    await server.client.patch(QUOTAS, "q", wrong, MERGE, namespace, subresource="status")
    assert await used(server, namespace) == {"configmaps": "4"}
    now = (await server.client.get(QUOTAS, "q", namespace))["metadata"]["resourceVersion"]
    context = Context(server.local)
    controller = QuotaController(context, lambda: [CONFIGMAPS, PODS])
    task = asyncio.create_task(run_controllers(context, [controller]))
    try:
        assert await _next(server, namespace, now) == {"configmaps": "1"}
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def limits(server: RunningServer, namespace: str, *items: dict[str, Any]) -> None:
    await server.client.create(LIMITRANGES, {"metadata": {"name": "l"}, "spec": {"limits": list(items)}}, namespace)


async def test_limit_ranges_fill_in(server: RunningServer, namespace: str) -> None:
    await limits(
        server,
        namespace,
        {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m", "memory": "64Mi"}},
    )
    made = await server.client.create(PODS, pod("p"), namespace)
    assert made["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "100m", "memory": "64Mi"},
        "limits": {"cpu": "500m"},
    }
    assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu, memory request for container main; cpu limit for container main"
    )
    assert made["status"]["qosClass"] == "Burstable"


@pytest.mark.parametrize(
    ("requests", "most", "message"),
    [
        ({"cpu": "50m"}, {"cpu": "1"}, "minimum cpu usage per Container is 100m, but request is 50m"),
        ({"cpu": "1"}, {"cpu": "3"}, "maximum cpu usage per Container is 2, but limit is 3"),
        (
            {"cpu": "100m"},
            {"cpu": "1"},
            "cpu max limit to request ratio per Container is 4, but provided ratio is",
        ),
        (
            {"cpu": "1", "memory": "2Gi"},
            {"cpu": "1", "memory": "2Gi"},
            "maximum memory usage per Pod is 1Gi, but limit is 2Gi",
        ),
        ({"cpu": "1"}, {"cpu": "1"}, "maximum memory usage per Pod is 1Gi.  No limit is specified"),
    ],
)
async def test_limit_ranges_refuse(
    server: RunningServer, namespace: str, requests: Any, most: Any, message: str
) -> None:
    container = {"min": {"cpu": "100m"}, "max": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "4"}}
    await limits(server, namespace, {"type": "Container", **container}, {"type": "Pod", "max": {"memory": "1Gi"}})
    assert message in await refused(server, PODS, pod("p", requests, most), namespace)


async def test_claims_have_limits_too(server: RunningServer, namespace: str) -> None:
    await limits(server, namespace, {"type": "PersistentVolumeClaim", "max": {"storage": "2Gi"}})
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "3Gi"}}}
    assert await refused(server, PERSISTENTVOLUMECLAIMS, {"metadata": {"name": "c"}, "spec": spec}, namespace) == (
        'persistentvolumeclaims "c" is forbidden: maximum storage usage per PersistentVolumeClaim is 2Gi, '
        "but request is 3Gi"
    )


async def test_limit_ranges_and_quotas_are_checked(server: RunningServer, namespace: str) -> None:
    for item, message in (
        ({"type": "Node"}, 'spec.limits[0].type: Unsupported value: "Node"'),
        ({"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}, "min value 2 is greater than max value 1"),
        ({"type": "Pod", "default": {"cpu": "1"}}, "may not be specified when `type` is 'Pod'"),
    ):
        with pytest.raises(ApiError) as caught:
            await limits(server, namespace, item)
        assert message in caught.value.message
    with pytest.raises(ApiError, match="must be greater than or equal to 0"):
        await quota(server, namespace, hard={"pods": "-1"})
    with pytest.raises(ApiError, match="unsupported scope"):
        await quota(server, namespace, hard={"pods": "1"}, scopes=["Whatever"])


async def test_priority_classes(server: RunningServer, namespace: str) -> None:
    names = [each["metadata"]["name"] for each in (await server.client.list(PRIORITYCLASSES)).items]
    assert names == ["system-cluster-critical", "system-node-critical"]
    await server.client.create(PRIORITYCLASSES, {"metadata": {"name": "low"}, "value": -5, "globalDefault": True})
    made = await server.client.create(PODS, pod("p"), namespace)
    assert (made["spec"]["priority"], made["spec"]["priorityClassName"]) == (-5, "low")
    with pytest.raises(ApiError, match="PriorityClass low is already marked as default"):
        await server.client.create(PRIORITYCLASSES, {"metadata": {"name": "b"}, "value": 1, "globalDefault": True})
    with pytest.raises(ApiError, match="priority class names with 'system-' prefix are reserved"):
        await server.client.create(PRIORITYCLASSES, {"metadata": {"name": "system-mine"}, "value": 1})
    with pytest.raises(ApiError, match="maximum allowed value of a user defined priority is 1000000000"):
        await server.client.create(PRIORITYCLASSES, {"metadata": {"name": "b"}, "value": 1_000_000_001})
    with pytest.raises(ApiError, match="may not be changed in an update"):
        await server.client.patch(PRIORITYCLASSES, "low", {"value": 3}, MERGE)
    assert "no PriorityClass with name nope was found" in await refused(
        server, PODS, pod("q", priorityClassName="nope"), namespace
    )
    assert "the integer value of priority (7) must not be provided in pod spec" in await refused(
        server, PODS, pod("q", priority=7), namespace
    )


async def test_words_about_namespaces(server: RunningServer) -> None:
    with pytest.raises(ApiError) as caught:
        await server.client.create(CONFIGMAPS, {"metadata": {"name": "a"}}, "nowhere")
    assert (caught.value.message, caught.value.code) == ('namespaces "nowhere" not found', 404)
    await server.client.create(NAMESPACES, {"metadata": {"name": "ending"}})
    await server.client.delete(NAMESPACES, "ending")
    assert await refused(server, CONFIGMAPS, {"metadata": {"name": "a"}}, "ending") == (
        'configmaps "a" is forbidden: unable to create new content in namespace ending because it is being terminated'
    )


def test_what_a_pod_asks_for() -> None:
    def container(cpu: str, **rest: Any) -> dict[str, Any]:
        return {"name": "c", "resources": {"requests": {"cpu": cpu}}, **rest}

    spec = {"containers": [container("1"), container("500m")], "initContainers": [container("3")]}
    assert pod_resources(spec, "requests") == {"cpu": Decimal(3)}
    spec["initContainers"] = [container("1", restartPolicy="Always"), container("1")]
    assert pod_resources(spec, "requests") == {"cpu": Decimal("2.5")}
    spec["overhead"] = {"cpu": "100m"}
    assert usage("", "pods", {"spec": spec})["requests.cpu"] == Decimal("2.6")


@given(st.integers(0, 10**15), st.sampled_from(["cpu", "memory", "pods", "requests.storage"]))
def test_amounts_keep_their_value_as_text(value: int, name: str) -> None:
    from weft.api import quantity

    assert quantity.parse(text(name, Decimal(value))) == value
