"""Equal parts are kept once, and what clients see stays as it was."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from weft.api.gvr import PODS
from weft.apiserver import sharing
from weft.apiserver.sharing import Sharing
from weft.testing.apiserver import api_server

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.sampled_from(["a", "b"])),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(st.sampled_from("ab"), below, max_size=3)),
    max_leaves=10,
)


@given(st.lists(st.dictionaries(st.sampled_from(["containers", "tolerations", "nodeName"]), VALUES), max_size=5))
def test_values_stay_and_equal_parts_become_one(specs: list[dict[str, Any]]) -> None:
    shared = Sharing()
    objects = [{"kind": "Pod", "metadata": {}, "spec": spec} for spec in copy.deepcopy(specs)]
    for obj in objects:
        shared.share(obj)
    assert [repr(obj["spec"]) for obj in objects] == [repr(spec) for spec in specs]
    for one in objects:
        for two in objects:
            for key, value in one["spec"].items():
                other = two["spec"].get(key)
                if isinstance(value, (dict, list)) and repr(value) == repr(other):
                    assert value is other


def test_the_table_is_bounded() -> None:
    shared = Sharing()
    for n in range(3 * sharing._PARTS):
        shared.share({"kind": "Pod", "metadata": {}, "spec": {"containers": [n]}})
    assert len(shared._parts) <= sharing._PARTS


async def test_a_change_of_one_pod_leaves_the_others() -> None:
    async with api_server() as server:
        for name in ("a", "b"):
            pod = {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "one"}]}}
            await server.client.create(PODS, pod, "default")
        one, two = [await server.local.get(PODS, name, "default") for name in ("a", "b")]
        assert one["spec"]["containers"] is two["spec"]["containers"]
        patch = {"spec": {"containers": [{"name": "c", "image": "two"}]}}
        await server.client.patch(PODS, "a", patch, "application/strategic-merge-patch+json", "default")
        other = await server.client.get(PODS, "b", "default")
        assert other["spec"]["containers"][0]["image"] == "one"
        fields = other["metadata"]["managedFields"][0]["fieldsV1"]
        assert "f:image" in fields["f:spec"]["f:containers"]['k:{"name":"c"}']
