"""Quotas, limit ranges, policies and priority classes as kubectl's users meet them."""

from collections.abc import AsyncIterator

import pytest

from weft.testing.apiserver import RunningServer, api_server


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with api_server() as running:
        yield running


async def out(server: RunningServer, *arguments: str, stdin: str | None = None) -> str:
    return (await server.kubectl(*arguments, stdin=stdin)).stdout.decode()


async def err(server: RunningServer, *arguments: str, stdin: str | None = None) -> str:
    output = await server.kubectl(*arguments, stdin=stdin, check=False)
    assert output.code != 0, output.stdout.decode()
    return output.stderr.decode()


LIMITS = """
apiVersion: v1
kind: LimitRange
metadata: {name: sizes}
spec:
  limits:
  - {type: Container, default: {cpu: 500m}, defaultRequest: {cpu: 100m}, max: {cpu: "1"}}
"""
POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: replicas}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}]
  validations: [{expression: "object.spec.replicas <= 5"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: replicas}
spec: {policyName: replicas, validationActions: [ACTION]}
"""


async def test_quotas(server: RunningServer) -> None:
    await server.kubectl("create", "quota", "small", "--hard=configmaps=1,count/deployments.apps=1")
    await server.kubectl("create", "configmap", "a")
    assert await err(server, "create", "configmap", "b") == (
        'error: failed to create configmap: configmaps "b" is forbidden: exceeded quota: small, '
        "requested: configmaps=1, used: configmaps=1, limited: configmaps=1\n"
    )
    await server.kubectl("create", "deployment", "web", "--image=i")
    assert "exceeded quota: small, requested: count/deployments.apps=1" in await err(
        server, "create", "deployment", "more", "--image=i"
    )
    described = [line.split() for line in (await out(server, "describe", "quota", "small")).splitlines()]
    assert ["configmaps", "1", "1"] in described
    assert ["count/deployments.apps", "1", "1"] in described


async def test_limit_ranges(server: RunningServer) -> None:
    await server.kubectl("apply", "-f", "-", stdin=LIMITS)
    await server.kubectl("run", "p", "--image=i")
    path = "jsonpath={.spec.containers[0].resources.requests.cpu} {.spec.containers[0].resources.limits.cpu}"
    assert await out(server, "get", "pod/p", "-o", path) == "100m 500m"
    big = '{"spec": {"containers": [{"name": "q", "image": "i", "resources": {"limits": {"cpu": "2"}}}]}}'
    assert "maximum cpu usage per Container is 1, but limit is 2" in await err(
        server, "run", "q", "--image=i", f"--overrides={big}"
    )
    assert "Container" in await out(server, "describe", "limits", "sizes")


async def test_policies(server: RunningServer) -> None:
    await server.kubectl("apply", "-f", "-", stdin=POLICY.replace("ACTION", "Deny"))
    text = await err(server, "create", "deployment", "web", "--image=i", "--replicas=6")
    assert "ValidatingAdmissionPolicy 'replicas' with binding 'replicas' denied request: failed expression" in text
    await server.kubectl("apply", "-f", "-", stdin=POLICY.replace("ACTION", "Warn"))
    warned = await server.kubectl("create", "deployment", "web", "--image=i", "--replicas=6")
    assert "Warning: Validation failed for ValidatingAdmissionPolicy 'replicas' with binding" in warned.stderr.decode()


async def test_priority_classes(server: RunningServer) -> None:
    await server.kubectl("create", "priorityclass", "high", "--value=1000", "--global-default")
    await server.kubectl("run", "p", "--image=i")
    assert await out(server, "get", "pod/p", "-o", "jsonpath={.spec.priority}") == "1000"
    assert "system-node-critical" in await out(server, "get", "pc")
    assert 'namespaces "nowhere" not found' in await err(server, "create", "configmap", "a", "-n", "nowhere")
