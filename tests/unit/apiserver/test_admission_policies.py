"""Validating admission policies and their bindings."""

from typing import Any

import pytest

from weft.api.gvr import CONFIGMAPS, DEPLOYMENTS, NAMESPACES
from weft.api.status import ApiError
from weft.apiserver.admission.policies import BINDINGS, POLICIES
from weft.testing.apiserver import RunningServer

RULES = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}]


async def policy(server: RunningServer, name: str, *validations: dict[str, Any], **spec: Any) -> None:
    body = {"matchConstraints": {"resourceRules": RULES}, "validations": list(validations), **spec}
    await server.client.create(POLICIES, {"metadata": {"name": name}, "spec": body})


async def bind(server: RunningServer, name: str, **spec: Any) -> None:
    body = {"policyName": name, "validationActions": ["Deny"], **spec}
    await server.client.create(BINDINGS, {"metadata": {"name": f"{name}-binding"}, "spec": body})


async def create(server: RunningServer, name: str, namespace: str = "default", **rest: Any) -> None:
    metadata = {"name": name, **({"labels": rest.pop("labels")} if "labels" in rest else {})}
    await server.client.create(CONFIGMAPS, {"metadata": metadata, **rest}, namespace)


async def refused(server: RunningServer, name: str, namespace: str = "default", **rest: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await create(server, name, namespace, **rest)
    return caught.value


async def test_a_policy_binds_only_where_it_is_bound(server: RunningServer) -> None:
    await policy(server, "p", {"expression": "size(object.metadata.name) <= 5"})
    await create(server, "unbound-yet")
    await bind(server, "p", matchResources={"namespaceSelector": {"matchLabels": {"strict": "yes"}}})
    await create(server, "elsewhere")
    await server.client.create(NAMESPACES, {"metadata": {"name": "strict", "labels": {"strict": "yes"}}})
    error = await refused(server, "longer", "strict")
    assert error.message == (
        "configmaps \"longer\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p-binding' denied request: "
        "failed expression: size(object.metadata.name) <= 5"
    )
    assert (error.reason, error.code) == ("Invalid", 422)
    await create(server, "short", "strict")


async def test_messages_reasons_variables_and_old_objects(server: RunningServer) -> None:
    await policy(
        server,
        "p",
        {
            "expression": "variables.count <= 2",
            "messageExpression": "'at most 2 entries, not ' + string(variables.count)",
            "reason": "Forbidden",
        },
        {"expression": "oldObject == null || oldObject.data == object.data", "message": "data is immutable"},
        variables=[
            {"name": "data", "expression": "has(object.data) ? object.data : {}"},
            {"name": "count", "expression": "size(variables.data)"},
            {"name": "never", "expression": "1 / 0"},
        ],
        matchConditions=[{"name": "not-deleted", "expression": "request.operation != 'DELETE'"}],
    )
    await bind(server, "p")
    error = await refused(server, "a", data={"a": "", "b": "", "c": ""})
    assert error.message.endswith("denied request: at most 2 entries, not 3")
    assert (error.reason, error.code) == ("Forbidden", 403)
    await create(server, "a", data={"a": "1"})
    with pytest.raises(ApiError, match="data is immutable"):
        await server.client.patch(CONFIGMAPS, "a", {"data": {"a": "2"}}, "application/merge-patch+json", "default")
    await server.client.delete(CONFIGMAPS, "a", "default")


async def test_parameters(server: RunningServer) -> None:
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    await policy(
        server,
        "p",
        {"expression": "object.metadata.name.startsWith(params.data.prefix)"},
        paramKind=kind,
        matchConditions=[{"name": "no-params", "expression": "!has(object.metadata.labels)"}],
    )
    await bind(server, "p", paramRef={"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"})
    assert "no params found for policy binding" in (await refused(server, "a")).message
    allow = {"spec": {"paramRef": {"parameterNotFoundAction": "Allow"}}}
    await server.client.patch(BINDINGS, "p-binding", allow, "application/merge-patch+json")
    await create(server, "a")
    await create(server, "limits", labels={"is": "params"}, data={"prefix": "x-"})
    assert "failed expression" in (await refused(server, "b")).message
    await create(server, "x-b")


async def test_an_expression_that_fails_counts_as_the_policy_says(server: RunningServer) -> None:
    await policy(server, "p", {"expression": "object.data.nope == ''"})
    await bind(server, "p")
    error = await refused(server, "a", data={"x": ""})
    assert error.message.endswith("expression 'object.data.nope == ''' resulted in error: no such key: nope")
    await server.client.patch(POLICIES, "p", {"spec": {"failurePolicy": "Ignore"}}, "application/merge-patch+json")
    await create(server, "a", data={"x": ""})


async def test_other_resources_and_subresources(server: RunningServer) -> None:
    rules = [
        {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
         "resources": ["deployments", "deployments/scale"]}
    ]  # fmt: skip
    await policy(
        server,
        "replicas",
        {"expression": "object.spec.replicas <= 5"},
        matchConstraints={"resourceRules": rules, "excludeResourceRules": [{**rules[0], "resourceNames": ["free"]}]},
    )
    await bind(server, "replicas")
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}

    def deployment(name: str, replicas: int) -> dict[str, Any]:
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        return {"metadata": {"name": name}, "spec": spec}

    with pytest.raises(ApiError, match=r"deployments.apps \"web\" is forbidden: .*failed expression"):
        await server.client.create(DEPLOYMENTS, deployment("web", 6), "default")
    await server.client.create(DEPLOYMENTS, deployment("free", 6), "default")
    await server.client.create(DEPLOYMENTS, deployment("web", 2), "default")
    merge = "application/merge-patch+json"
    with pytest.raises(ApiError, match="failed expression"):
        await server.client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 9}}, merge, "default", subresource="scale")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"validations": [{"expression": "object."}]}, "spec.validations[0].expression: Invalid value"),
        ({"validations": [{"expression": "1 + 1"}]}, "must evaluate to bool"),
        ({"validations": [{"expression": "nope > 1"}]}, "undeclared reference to 'nope'"),
        ({"validations": []}, "validations or auditAnnotations must contain at least one item"),
        ({"validations": [{"expression": "true", "reason": "Because"}]}, 'reason: Unsupported value: "Because"'),
        ({"variables": [{"name": "a-b", "expression": "1"}]}, "name is not a valid CEL identifier"),
        ({"matchConstraints": {}}, "spec.matchConstraints.resourceRules: Required value"),
    ],
)
async def test_policies_are_checked(server: RunningServer, spec: dict[str, Any], message: str) -> None:
    validations = spec.get("validations", [{"expression": "true"}])
    rest = {key: value for key, value in spec.items() if key != "validations"}
    with pytest.raises(ApiError) as caught:
        await policy(server, "p", *validations, **rest)
    assert message in caught.value.message
    assert caught.value.code == 422


async def test_bindings_are_checked(server: RunningServer) -> None:
    for spec, message in (
        ({"validationActions": []}, "at least one validation action is required"),
        ({"validationActions": ["Shout"]}, 'Unsupported value: "Shout"'),
        ({"validationActions": ["Deny", "Warn"]}, "must not contain both Deny and Warn"),
        ({"paramRef": {"name": "a"}}, "parameterNotFoundAction: Required value"),
    ):
        with pytest.raises(ApiError) as caught:
            await bind(server, "p", **spec)
        assert message in caught.value.message
