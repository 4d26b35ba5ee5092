"""Admission webhooks against a real webhook server over TLS."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hooks import HookServer, allow, deny, hook_server, patch, webhook

from weft.api.gvr import CONFIGMAPS, DEPLOYMENTS, ENDPOINTSLICES, NAMESPACES, SERVICES
from weft.api.status import ApiError
from weft.apiserver.admission.webhooks import MUTATING, VALIDATING
from weft.testing.apiserver import RunningServer


@pytest.fixture
async def hooks() -> AsyncIterator[HookServer]:
    async with hook_server() as running:
        yield running


async def configure(server: RunningServer, gvr: Any, name: str, *entries: dict[str, Any]) -> None:
    await server.client.create(gvr, {"metadata": {"name": name}, "webhooks": list(entries)})


async def create(server: RunningServer, name: str = "a", **rest: Any) -> dict[str, Any]:
    return await server.client.create(
        CONFIGMAPS, {"metadata": {"name": name, **rest.pop("meta", {})}, **rest}, "default"
    )


async def refused(server: RunningServer, name: str = "a", **rest: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await create(server, name, **rest)
    return caught.value


async def test_a_validating_webhook_decides(server: RunningServer, hooks: HookServer) -> None:
    hooks.answers["/check"] = lambda r: (
        {"allowed": True} if r["object"].get("data", {}).get("ok") else deny("needs ok", code=422)(r)
    )
    await configure(server, VALIDATING, "check", webhook("check.example.com", hooks.config("/check")))
    error = await refused(server)
    assert (error.message, error.code) == ('admission webhook "check.example.com" denied the request: needs ok', 422)
    await create(server, data={"ok": "1"})
    with pytest.raises(ApiError, match="needs ok"):
        await server.client.patch(CONFIGMAPS, "a", {"data": None}, "application/merge-patch+json", "default")
    first, _, update = hooks.requests("/check")
    assert first["operation"] == "CREATE"
    assert first["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert first["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert (first["name"], first["namespace"], first["dryRun"]) == ("a", "default", False)
    assert first["userInfo"]["username"] == "kubernetes-admin"
    assert first["oldObject"] is None
    assert (update["operation"], update["oldObject"]["data"]) == ("UPDATE", {"ok": "1"})


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        ({}, 'admission webhook "x.example.com" denied the request without explanation', 400),
        ({"reason": "Because"}, 'admission webhook "x.example.com" denied the request: Because', 400),
        ({"message": "no", "code": 200}, 'admission webhook "x.example.com" denied the request: no', 400),
        ({"message": "no", "code": 403}, 'admission webhook "x.example.com" denied the request: no', 403),
    ],
)
async def test_words_of_a_refusal(
    server: RunningServer, hooks: HookServer, status: dict[str, Any], message: str, code: int
) -> None:
    hooks.answers["/x"] = lambda r: {"allowed": False, "status": status}
    await configure(server, VALIDATING, "x", webhook("x.example.com", hooks.config("/x")))
    error = await refused(server)
    assert (error.message, error.code) == (message, code)


async def test_mutating_webhooks_in_order_and_again(server: RunningServer, hooks: HookServer) -> None:
    def first(request: dict[str, Any]) -> dict[str, Any]:
        data = request["object"].get("data") or {}
        if "second" in data:
            return patch({"op": "add", "path": "/data/again", "value": "yes"})(request)
        return patch({"op": "add", "path": "/data", "value": {"first": "yes"}})(request)

    hooks.answers["/a"] = first
    hooks.answers["/b"] = patch({"op": "add", "path": "/data/second", "value": "yes"})
    hooks.answers["/z"] = allow
    await configure(server, MUTATING, "b", webhook("b.example.com", hooks.config("/b")))
    await configure(server, MUTATING, "a", webhook("a.example.com", hooks.config("/a"), reinvocationPolicy="IfNeeded"))
    await configure(server, VALIDATING, "z", webhook("z.example.com", hooks.config("/z")))
    made = await create(server)
    assert made["data"] == {"first": "yes", "second": "yes", "again": "yes"}
    assert [path for path, _ in hooks.seen] == ["/a", "/b", "/a", "/z"]
    assert hooks.requests("/z")[0]["object"]["data"] == made["data"], "validating webhooks see the last state"


async def test_a_patch_that_makes_nonsense_is_refused(server: RunningServer, hooks: HookServer) -> None:
    await configure(server, MUTATING, "m", webhook("m.example.com", hooks.config("/m")))
    hooks.answers["/m"] = patch({"op": "add", "path": "/data", "value": ["x"]})
    assert (await refused(server)).code == 400
    hooks.answers["/m"] = patch({"op": "remove", "path": "/nope"})
    assert "failed calling webhook" in (await refused(server)).message
    hooks.answers["/m"] = patch({"op": "replace", "path": "", "value": 3})
    assert (await refused(server)).code == 500
    hooks.answers["/m"] = lambda r: {"allowed": True, "patchType": "JSONPatch", "patch": "?"}
    assert "couldn't decode the patch" in (await refused(server)).message
    hooks.answers["/m"] = patch({"op": "replace", "path": "/metadata/name", "value": "other"})
    assert (await create(server))["metadata"]["name"] == "a", "whose object it is, a webhook may not say"


async def test_failures_and_what_they_mean(server: RunningServer, hooks: HookServer) -> None:
    entry = webhook("f.example.com", hooks.config("/f"), timeoutSeconds=3)
    await configure(server, VALIDATING, "f", entry)
    hooks.answers["/f"] = lambda r: {"raw": b"no json"}
    error = await refused(server)
    assert error.code == 500
    assert error.message.startswith('Internal error occurred: failed calling webhook "f.example.com": failed to call w')
    hooks.answers["/f"] = lambda r: {"raw": b"broken", "code": 503}
    assert "an error on the server" in (await refused(server)).message
    hooks.answers["/f"] = lambda r: {"uid": "wrong", "allowed": True}
    assert 'expected response.uid="' in (await refused(server)).message
    configuration = await server.client.get(VALIDATING, "f")
    configuration["webhooks"][0]["clientConfig"] = {"url": "https://127.0.0.1:1/x", "caBundle": hooks.bundle}
    configuration = await server.client.update(VALIDATING, configuration)
    refusal = 'Post "https://127.0.0.1:1/x?timeout=3s": dial tcp 127.0.0.1:1: connect: connection refused'
    assert refusal in (await refused(server)).message
    configuration["webhooks"][0]["failurePolicy"] = "Ignore"
    await server.client.update(VALIDATING, configuration)
    await create(server)


async def test_the_certificate_must_be_vouched_for(server: RunningServer, hooks: HookServer) -> None:
    async with hook_server() as other:
        config = {**hooks.config("/x"), "caBundle": other.bundle}
        await configure(server, VALIDATING, "x", webhook("x.example.com", config))
        assert "tls: failed to verify certificate" in (await refused(server)).message
    assert not hooks.seen


async def test_a_service_leads_to_its_endpoints(server: RunningServer, hooks: HookServer) -> None:
    hooks.answers["/s"] = deny("by service")
    service = {"service": {"name": "hook", "namespace": "default", "path": "/s"}, "caBundle": hooks.bundle}
    await configure(server, VALIDATING, "s", webhook("s.example.com", service))
    assert 'service "hook" not found' in (await refused(server)).message
    port = {"port": 443, "targetPort": hooks.port}
    await server.client.create(SERVICES, {"metadata": {"name": "hook"}, "spec": {"ports": [port]}}, "default")
    assert 'no endpoints available for service "hook"' in (await refused(server)).message
    endpoints = {
        "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
        "ports": [{"port": hooks.port, "name": "", "protocol": "TCP"}],
    }
    await server.local.create(ENDPOINTSLICES, endpoints, "default")
    assert (await refused(server)).message == 'admission webhook "s.example.com" denied the request: by service'


async def test_what_a_webhook_is_asked_about(server: RunningServer, hooks: HookServer) -> None:
    for name in ("namespaces", "objects", "conditions"):
        hooks.answers[f"/{name}"] = deny(name)
    await configure(
        server,
        VALIDATING,
        "v",
        webhook("n.example.com", hooks.config("/namespaces"), namespaceSelector={"matchLabels": {"strict": "yes"}}),
        webhook("o.example.com", hooks.config("/objects"), objectSelector={"matchLabels": {"strict": "yes"}}),
        webhook(
            "c.example.com",
            hooks.config("/conditions"),
            matchConditions=[
                {"name": "long", "expression": "size(object.metadata.name) > 5 && request.dryRun == false"}
            ],
        ),
    )
    await server.client.create(NAMESPACES, {"metadata": {"name": "strict", "labels": {"strict": "yes"}}})
    await create(server, "ok")
    with pytest.raises(ApiError, match="denied the request: namespaces"):
        await server.client.create(CONFIGMAPS, {"metadata": {"name": "a"}}, "strict")
    assert "objects" in (await refused(server, meta={"labels": {"strict": "yes"}})).message
    assert "conditions" in (await refused(server, "longer")).message


async def test_deletions_subresources_and_dry_runs(server: RunningServer, hooks: HookServer) -> None:
    hooks.answers["/d"] = deny("stays")
    hooks.answers["/s"] = deny("no scaling")
    every = {"apiGroups": ["*"], "apiVersions": ["*"]}
    await configure(
        server,
        VALIDATING,
        "d",
        webhook("d.example.com", hooks.config("/d"), rules=[{**every, "operations": ["DELETE"], "resources": ["*"]}]),
        webhook(
            "s.example.com",
            hooks.config("/s"),
            rules=[{**every, "operations": ["UPDATE"], "resources": ["deployments/scale"]}],
        ),
    )
    await create(server)
    with pytest.raises(ApiError, match="stays"):
        await server.client.delete(CONFIGMAPS, "a", "default")
    (request,) = hooks.requests("/d")
    assert request["object"] is None
    assert request["oldObject"]["metadata"]["name"] == "a"
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    await server.client.create(DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": spec}, "default")
    with pytest.raises(ApiError, match="no scaling"):
        await server.client.patch(
            DEPLOYMENTS,
            "web",
            {"spec": {"replicas": 3}},
            "application/merge-patch+json",
            "default",
            subresource="scale",
        )
    (request,) = hooks.requests("/s")
    assert (request["object"]["kind"], request["object"]["spec"]["replicas"]) == ("Scale", 3)
    assert request["subResource"] == "scale"
    await server.client.delete(VALIDATING, "d")  # which no webhook is asked about


async def test_configurations_are_checked(server: RunningServer, hooks: HookServer) -> None:
    good = webhook("a.example.com", hooks.config("/x"))
    for change, message in (
        ({"name": "short"}, "should be a domain with at least three segments separated by dots"),
        ({"sideEffects": "Some"}, 'sideEffects: Unsupported value: "Some"'),
        ({"admissionReviewVersions": ["v1beta1"]}, "must include at least one of v1"),
        ({"timeoutSeconds": 31}, "the timeout value must be between 1 and 30 seconds"),
        ({"clientConfig": {}}, "exactly one of url or service is required"),
        ({"clientConfig": {"url": "http://a/x"}}, "'https' is the only allowed URL scheme"),
        ({"matchConditions": [{"name": "a", "expression": "object."}]}, "compilation failed: ERROR"),
        ({"matchConditions": [{"name": "a", "expression": "1"}]}, "must evaluate to bool"),
        ({"rules": [{"operations": ["MAKE"]}]}, 'operations[0]: Unsupported value: "MAKE"'),
    ):
        with pytest.raises(ApiError) as caught:
            await configure(server, VALIDATING, "bad", {**good, **change})
        assert caught.value.code == 422
        assert message in caught.value.message
    await configure(server, MUTATING, "good", good)
    stored = (await server.client.get(MUTATING, "good"))["webhooks"][0]
    assert (stored["failurePolicy"], stored["timeoutSeconds"], stored["reinvocationPolicy"]) == ("Fail", 10, "Never")
