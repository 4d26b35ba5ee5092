"""What an OpenFlow switch of a lab is cabled to, by what names and numbers; the rest needs Open vSwitch."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from weft.node.lab import Lab, desired_state
from weft.node.lab_openflow import FABRIC, Wire, datapath_id, numbered, openflow_switches, port_name, wires


def node(kind: str, dataplane: str = "") -> dict[str, Any]:
    return {"kind": kind, "spec": {"dataplane": dataplane} if dataplane else {}}


def link(a: str, b: str, state: str = "up") -> dict[str, Any]:
    ends = [{"node": each, "interface": f"{a}-{b}"} for each in (a, b)]
    return {"spec": {"name": f"{a}-{b}", "endpoints": ends, "state": state}}


NODES = {
    "s1": node("Switch", "openflow"),
    "s2": node("Switch", "openflow"),
    "old": node("Switch", "linux"),
    "h1": node("Host"),
}
LINKS = [link("s1", "s2"), link("h1", "s1", "down"), link("s2", "old"), link("s2", "missing"), link("h1", "old")]


def test_switches_are_those_that_say_so() -> None:
    assert openflow_switches(NODES) == {"s1", "s2"}


def test_wires_know_their_peers_and_wait_for_them() -> None:
    assert wires(frozenset({"s1", "s2"}), LINKS, NODES) == {
        "s1": [
            Wire("h1-s1", port_name("s1", "h1-s1"), False),
            Wire("s1-s2", port_name("s1", "s1-s2"), True, "s2"),
        ],
        "s2": [Wire("s1-s2", port_name("s2", "s1-s2"), True, "s1"), Wire("s2-old", port_name("s2", "s2-old"), True)],
    }


def test_all_ends_at_such_switches_are_in_one_namespace() -> None:
    state = desired_state(Lab(nodes=NODES, links=LINKS))
    assert {each.name: (each.bridge, each.ports) for each in state.namespaces} == {
        "h1": (False, False),
        "old": (True, False),
        FABRIC: (False, True),
    }
    [between] = [each for each in state.links if each.name == "s1-s2"]
    assert [(end.namespace, end.interface) for end in between.ends] == [
        (FABRIC, port_name("s1", "s1-s2")),
        (FABRIC, port_name("s2", "s1-s2")),
    ]


names = st.lists(st.text("abc", min_size=1, max_size=3), unique=True, max_size=9)


@given(names, st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(1, 60), max_size=9))
def test_ports_keep_their_numbers_and_none_is_given_twice(wanted: list[str], has: dict[str, int]) -> None:
    has = {name: number for number, name in {number: name for name, number in has.items()}.items()}
    found = numbered(wanted, has)
    assert list(found) == wanted
    assert len(set(found.values())) == len(wanted)
    assert all(found[name] == has[name] for name in wanted if name in has)
    assert all(found[name] <= len(wanted) for name in wanted if name not in has)


@given(st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=63), st.text("ab-", min_size=1, max_size=63))
def test_names_fit_the_kernel_and_are_no_nodes(name: str, other: str) -> None:
    assert len(port_name(name, other)) <= 15
    assert "_" in port_name(name, other)


def test_datapath_ids_are_the_same_each_time_and_others_elsewhere() -> None:
    ids = [datapath_id("weft", ("default", lab), name) for lab in ("a", "b") for name in ("s1", "s2")]
    assert len(set(ids)) == 4
    assert datapath_id("weft", ("default", "a"), "s1") == ids[0]
    assert all(0 < each < 1 << 64 for each in ids)
