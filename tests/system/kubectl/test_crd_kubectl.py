"""Custom resources as kubectl's users meet them: explain, columns, selectors, unknown fields, rules, deletion."""

from collections.abc import AsyncIterator

import pytest

from weft.testing.apiserver import RunningServer, api_server

SHIRTS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: shirts.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: shirts, kind: Shirt, shortNames: [sh], categories: [clothes]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.stock, statusReplicasPath: .status.stock}}
    selectableFields: [{jsonPath: .spec.color}]
    additionalPrinterColumns:
    - {name: Color, type: string, jsonPath: .spec.color}
    - {name: Sizes, type: string, jsonPath: ".spec.sizes[*].name", priority: 1}
    schema:
      openAPIV3Schema:
        description: A shirt in the shop.
        type: object
        properties:
          spec:
            type: object
            description: What it is.
            required: [color]
            x-kubernetes-validations:
            - {rule: "self.stock <= 10 || self.color == 'blue'", message: only blue shirts come in numbers}
            properties:
              color: {type: string, description: Of the cloth., enum: [blue, green, red]}
              stock: {type: integer, default: 1, minimum: 0}
              washable: {type: boolean, x-kubernetes-validations: [{rule: self == oldSelf, message: is forever}]}
              sizes:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items:
                  type: object
                  required: [name]
                  properties:
                    name: {type: string, description: Such as XL.}
                    chest: {x-kubernetes-int-or-string: true}
              label: {type: object, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true}
          status: {type: object, properties: {stock: {type: integer}}}
"""


def shirt(name: str, spec: str) -> str:
    return f"apiVersion: stable.example.com/v1\nkind: Shirt\nmetadata: {{name: {name}}}\nspec: {spec}\n"


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with api_server() as running:
        await running.kubectl("apply", "-f", "-", stdin=SHIRTS)
        yield running


async def out(server: RunningServer, *arguments: str, stdin: str | None = None) -> str:
    return (await server.kubectl(*arguments, stdin=stdin)).stdout.decode()


async def err(server: RunningServer, *arguments: str, stdin: str | None = None) -> str:
    output = await server.kubectl(*arguments, stdin=stdin, check=False)
    assert output.code != 0, output.stdout.decode()
    return output.stderr.decode()


async def test_explain(server: RunningServer) -> None:
    text = await out(server, "explain", "shirts")
    assert "GROUP:      stable.example.com\nKIND:       Shirt\nVERSION:    v1\n" in text
    assert "A shirt in the shop." in text
    text = await out(server, "explain", "sh.spec.sizes.name")
    assert "FIELD: name <string>" in text
    assert "Such as XL." in text
    text = await out(server, "explain", "shirts", "--recursive")
    for line in (
        "  spec\t<Object>",
        "    color\t<string> -required-",
        "    sizes\t<[]Object>",
        "      chest\t<",
    ):
        assert line in text, text
    assert "ENUM:\n    blue\n    green\n    red\n" in await out(server, "explain", "shirts.spec.color")


async def test_columns_selectors_and_categories(server: RunningServer) -> None:
    await server.kubectl(
        "apply", "-f", "-", stdin=shirt("a", "{color: blue, stock: 20, sizes: [{name: S}, {name: XL}]}")
    )
    await server.kubectl("apply", "-f", "-", stdin=shirt("b", "{color: green}"))
    assert [line.split() for line in (await out(server, "get", "sh")).splitlines()] == [
        ["NAME", "COLOR"], ["a", "blue"], ["b", "green"]
    ]  # fmt: skip
    assert "S XL" in await out(server, "get", "sh", "-o", "wide")
    assert await out(server, "get", "sh", "--field-selector", "spec.color=green", "-o", "name") == (
        "shirt.stable.example.com/b\n"
    )
    assert "field label not supported: spec.stock" in await err(server, "get", "sh", "--field-selector", "spec.stock=1")
    assert "shirt.stable.example.com/a" in await out(server, "get", "clothes", "-o", "name")
    assert await out(server, "scale", "sh/a", "--replicas=30") == "shirt.stable.example.com/a scaled\n"
    assert await out(server, "get", "sh/a", "-o", "jsonpath={.spec.stock}") == "30"
    assert await out(server, "get", "sh/b", "-o", "jsonpath={.spec.stock}") == "1", "the default"


async def test_unknown_fields_and_rules(server: RunningServer) -> None:
    lost = shirt("a", "{color: blue, colour: red, label: {apiVersion: v1, kind: ConfigMap, any: 1}}")
    assert 'strict decoding error: unknown field "spec.colour"' in await err(server, "apply", "-f", "-", stdin=lost)
    warned = await server.kubectl("apply", "--validate=warn", "-f", "-", stdin=lost)
    assert 'unknown field "spec.colour"' in warned.stderr.decode()
    quiet = await server.kubectl("apply", "--validate=ignore", "-f", "-", stdin=lost)
    assert quiet.stderr == b""
    assert await out(server, "get", "sh/a", "-o", "jsonpath={.spec.colour}{.spec.label.any}") == "1"
    text = await err(server, "apply", "-f", "-", stdin=shirt("b", "{color: red, stock: 11}"))
    assert 'The Shirt "b" is invalid: spec: Invalid value: "object": only blue shirts come in numbers' in text
    await server.kubectl("apply", "-f", "-", stdin=shirt("b", "{color: red, washable: true}"))
    text = await err(server, "patch", "sh/b", "--type=merge", "-p", '{"spec": {"washable": false}}')
    assert 'spec.washable: Invalid value: "boolean": is forever' in text


async def test_a_bad_rule_is_refused_as_kubernetes_refuses_it(server: RunningServer) -> None:
    bad = SHIRTS.replace("self.stock <= 10", "self.stok <= 10")
    text = await err(server, "apply", "-f", "-", stdin=bad)
    assert 'x-kubernetes-validations[0].rule: Invalid value: apiextensions.ValidationRule{Rule:"self.stok' in text
    assert "compilation failed: ERROR: <input>:1:5: undefined field 'stok'" in text


async def test_deletion_takes_objects_along(server: RunningServer) -> None:
    await server.kubectl("apply", "-f", "-", stdin=shirt("a", "{color: blue}"))
    await server.kubectl("wait", "--for=condition=Established", "crd/shirts.stable.example.com", "--timeout=10s")
    await server.kubectl("delete", "crd", "shirts.stable.example.com", "--timeout=20s")
    assert "the server could not find the requested resource" in await err(server, "get", "shirts")
