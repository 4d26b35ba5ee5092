"""What the controller writes, and what it says of a lab, as pure functions of what it sees."""

import copy
from typing import Any

import pytest

from weft.controllers.network import Parts, Plan, link_states, plan, summarize
from weft.network.controller import Part, decide
from weft.network.topology.reader import read_topology

TOPOLOGY: dict[str, Any] = {
    "metadata": {"name": "lab", "namespace": "default", "uid": "u1", "generation": 3},
    "spec": {
        "routers": [{"name": "r1"}, {"name": "r2"}],
        "hosts": [{"name": "h1"}],
        "links": [{"endpoints": ["r1", "r2"]}, {"endpoints": ["h1", "r1"]}],
    },
}
WANTED = decide(read_topology(TOPOLOGY), {})


def stored(part: Part, uid: str = "u1", **metadata: Any) -> dict[str, Any]:
    """The object that the controller makes of a part, as a node has reported on it."""
    status: dict[str, Any] = {"observedGeneration": 1}
    if part.kind == "Link":
        status["state"] = part.spec["state"]
    elif part.kind == "RouteTable":
        status["installed"] = True
    else:
        status["phase"] = "Ready"
    owner = {"kind": "Topology", "name": "lab", "uid": uid, "controller": True}
    return {
        "kind": part.kind,
        "metadata": {"name": part.name, "generation": 1, "ownerReferences": [owner], **metadata},
        "spec": copy.deepcopy(part.spec),
        "status": status,
    }


@pytest.fixture
def present() -> Parts:
    return {(part.kind, part.name): stored(part) for part in WANTED}


def phase(present: Parts) -> tuple[str, str]:
    status = summarize(TOPOLOGY, WANTED, present, plan("u1", WANTED, present))
    return status["phase"], status["message"]


def test_all_is_created_where_there_is_nothing() -> None:
    assert plan("u1", WANTED, {}) == Plan(create=WANTED)


def test_nothing_is_written_where_all_is_there(present: Parts) -> None:
    assert plan("u1", WANTED, present).is_empty
    status = summarize(TOPOLOGY, WANTED, present, plan("u1", WANTED, present))
    assert status == {
        "observedGeneration": 3, "phase": "Ready", "message": "",
        "routers": 2, "switches": 0, "hosts": 1, "links": "2/2",
    }  # fmt: skip


def test_only_what_differs_is_updated_and_what_is_not_wanted_deleted(present: Parts) -> None:
    present["RouteTable", "r1.lab"]["spec"]["routes"] = []
    old = Part("Host", "h9.lab", {})
    present["Host", "h9.lab"] = stored(old)
    todo = plan("u1", WANTED, present)
    assert [(kind, obj["spec"]) for kind, obj in todo.update] == [
        ("RouteTable", next(part.spec for part in WANTED if (part.kind, part.name) == ("RouteTable", "r1.lab")))
    ]
    assert [obj["metadata"]["name"] for _, obj in todo.delete] == ["h9.lab"]
    assert not todo.create


@pytest.mark.parametrize("change", [{"uid": "another"}, {"deletionTimestamp": "2024-01-01T00:00:00Z"}])
def test_an_object_of_another_or_on_its_way_out_is_left_alone(present: Parts, change: dict[str, Any]) -> None:
    part = WANTED[0]
    present[part.kind, part.name] = stored(part, **change)
    present[part.kind, part.name]["spec"] = {}
    todo = plan("u1", WANTED, present)
    assert todo.taken == ["Router r1.lab"]
    assert [*todo.update, *todo.delete, *todo.create] == []
    assert phase(present)[0] == "Pending"


def test_a_deletion_is_asked_for_once(present: Parts) -> None:
    present["Host", "h9.lab"] = stored(Part("Host", "h9.lab", {}), deletionTimestamp="2024-01-01T00:00:00Z")
    assert plan("u1", WANTED, present).is_empty


def test_states_of_links_are_their_wishes_and_what_is_seen_against_them(present: Parts) -> None:
    present["Link", "r1-r2.lab"]["spec"]["state"] = "down"
    present["Link", "h1-r1.lab"]["status"]["state"] = "down"
    assert link_states(present) == ({"r1-r2": "down", "h1-r1": "up"}, frozenset({"h1-r1"}))


@pytest.mark.parametrize(
    ("key", "status", "expected"),
    [
        (("Router", "r1.lab"), {}, ("Pending", "waiting for Router r1.lab")),
        (("Router", "r1.lab"), {"phase": "Ready", "observedGeneration": 0}, ("Pending", "waiting for Router r1.lab")),
        (
            ("Host", "h1.lab"),
            {"phase": "Failed", "message": "cannot make a network namespace: Operation not permitted"},
            ("Failed", "Host h1.lab: cannot make a network namespace: Operation not permitted"),
        ),
        (("Link", "r1-r2.lab"), {"state": "down", "observedGeneration": 1}, ("Pending", "waiting for Link r1-r2.lab")),
        (
            ("RouteTable", "r1.lab"),
            {"installed": False, "observedGeneration": 1, "message": "interface r1-r2 is not up"},
            ("Pending", "waiting for RouteTable r1.lab: interface r1-r2 is not up"),
        ),
        (("RouteTable", "r1.lab"), {"installed": True}, ("Pending", "waiting for RouteTable r1.lab")),
    ],
)
def test_a_lab_is_ready_only_when_all_of_it_is(
    present: Parts, key: tuple[str, str], status: dict[str, Any], expected: tuple[str, str]
) -> None:
    present[key]["status"] = status
    assert phase(present) == expected


def test_a_link_that_is_cut_as_wished_does_not_keep_a_lab_from_being_ready(present: Parts) -> None:
    wanted = decide(read_topology(TOPOLOGY), {"r1-r2": "down"})
    present = {(part.kind, part.name): stored(part) for part in wanted}
    status = summarize(TOPOLOGY, wanted, present, plan("u1", wanted, present))
    assert (status["phase"], status["links"]) == ("Ready", "1/2")
