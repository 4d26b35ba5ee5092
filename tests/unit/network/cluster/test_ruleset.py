"""The table's text, run by a small model of nft that refuses what the kernel refuses."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.core.sandbox import PortBinding
from weft.core.settings import Paths, Settings
from weft.network.cluster.ruleset import (
    ServicePort,
    base,
    change,
    clear_ports,
    clear_services,
    publish,
    reachable,
    withdraw,
)

ELEMENT = re.compile(r"(add|delete) element inet t (\S+) \{ ([^:{}]+?)(?: : (.+))? \}")
OTHER = re.compile(r"(add rule|add chain|flush chain|delete chain|flush map|flush set) inet t (\S+)(?: (.+))?")


@dataclass
class Model:
    """What a table holds: the elements of maps and sets, and the rules of service chains."""

    elements: dict[str, dict[str, str]] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)

    def run(self, text: str) -> None:
        for line in text.splitlines():
            if match := ELEMENT.fullmatch(line):
                self._element(*match.groups(default=""))
            elif match := OTHER.fullmatch(line):
                self._other(*match.groups(default=""))
            else:
                pytest.fail(f"not understood: {line}")

    def _element(self, verb: str, name: str, key: str, value: str) -> None:
        present = self.elements.setdefault(name, {})
        if verb == "delete":
            assert key in present, f"No such file or directory: {name} {key}"
            del present[key]
            return
        assert present.get(key, value) == value, f"File exists: {name} {key}"
        assert not value.startswith("goto") or value.removeprefix("goto ") in self.chains, f"no chain {value}"
        present[key] = value

    def _other(self, verb: str, name: str, rule: str) -> None:
        if verb == "add chain":
            self.chains.setdefault(name, [])
        elif verb == "add rule":
            self.chains[name].append(rule)
        elif verb == "flush chain":
            self.chains[name].clear()
        elif verb == "delete chain":
            uses = [key for each in self.elements.values() for key, value in each.items() if value == f"goto {name}"]
            assert not uses, f"Device or resource busy: {name}"
            del self.chains[name]
        else:
            self.elements[name] = {}

    def content(self) -> tuple[dict[str, dict[str, str]], dict[str, list[str]]]:
        return {name: each for name, each in self.elements.items() if each}, self.chains


pods = st.tuples(st.sampled_from(["10.64.0.2", "10.64.0.3", "10.64.0.4"]), st.sampled_from([80, 8080]))


@st.composite
def service_sets(draw: st.DrawFn) -> dict[str, ServicePort]:
    """Services as the API server lets them be: addresses and node ports are unique."""
    found = {}
    free_addresses, free_ports = ["10.128.0.5", "10.128.0.6", "10.128.0.7"], [30001, 30002]
    for name in draw(st.sets(st.sampled_from(["a", "b", "c"]))):
        address = free_addresses.pop(draw(st.integers(0, len(free_addresses) - 1)))
        node_port = free_ports.pop() if free_ports and draw(st.booleans()) else 0
        endpoints = tuple(sorted(draw(st.sets(pods, max_size=3))))
        external = tuple(sorted(draw(st.sets(st.sampled_from([f"203.0.113.{ord(name)}", f"198.51.100.{ord(name)}"])))))
        service = ServicePort("ns", name, "", address, "tcp", 80, node_port, endpoints, draw(st.booleans()), external)
        found[service.chain] = service
    return found


@given(st.lists(service_sets(), min_size=1, max_size=5))
def test_every_way_leads_to_the_same_table(states: list[dict[str, ServicePort]]) -> None:
    model = Model()
    before: dict[str, ServicePort] = {}
    for after in states:
        model.run(change("t", before, after))
        before = after
    direct = Model()
    direct.run(change("t", {}, states[-1]))
    assert model.content() == direct.content()


@given(service_sets())
def test_nothing_changes_nothing(state: dict[str, ServicePort]) -> None:
    assert change("t", state, dict(state)) == ""


@given(service_sets())
def test_all_can_be_cleared(state: dict[str, ServicePort]) -> None:
    model = Model()
    model.run(change("t", {}, state))
    model.run(clear_services("t", model.chains))
    assert model.content() == ({}, {})


def service(endpoints: Iterable[tuple[str, int]], **changes: object) -> ServicePort:
    values = {"node_port": 0, "client_affinity": False} | changes
    return ServicePort("ns", "web", "http", "10.128.0.9", "tcp", 80, endpoints=tuple(endpoints), **values)  # type: ignore[arg-type]


def test_a_lost_endpoint_changes_one_chain_only() -> None:
    two, one = service([("10.64.0.2", 80), ("10.64.0.3", 80)]), service([("10.64.0.3", 80)])
    chain = two.chain
    assert change("t", {chain: two}, {chain: one}).splitlines() == [
        "delete element inet t hairpin_services { 10.64.0.2 . 10.64.0.2 }",
        f"add chain inet t {chain}",
        f"flush chain inet t {chain}",
        f"add rule inet t {chain} meta l4proto tcp dnat ip to 10.64.0.3:80",
    ]


def test_balancing() -> None:
    two = [("10.64.0.2", 80), ("10.64.0.3", 81)]
    assert service(two).rule == (
        "meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.64.0.2 . 80, 1 : 10.64.0.3 . 81 }"
    )
    assert "jhash ip saddr mod 2" in service(two, client_affinity=True).rule


def test_chains_are_told_apart_by_protocol_and_port() -> None:
    values = [("tcp", 53), ("udp", 53), ("tcp", 54)]
    assert len({ServicePort("n", "dns", "", "10.128.0.4", p, n).chain for p, n in values}) == 3  # type: ignore[arg-type]


@given(
    st.lists(
        st.tuples(st.sampled_from(["tcp", "udp"]), st.sampled_from(["", "0.0.0.0", "127.0.0.1"]), st.integers(1, 9)),
        unique_by=lambda each: (each[0], each[2]),
    )
)
def test_what_was_published_can_be_withdrawn(ports: list[tuple[str, str, int]]) -> None:
    bindings = [PortBinding(80, protocol, host_ip, number) for protocol, host_ip, number in ports]  # type: ignore[arg-type]
    model = Model()
    model.run(publish("t", "10.64.0.2", bindings))
    model.run(publish("t", "10.64.0.3", [PortBinding(80, "tcp", "", 99)]))
    model.run(withdraw("t", "10.64.0.2", bindings))
    assert model.content() == (
        {"tcp_any": {"99": "10.64.0.3 . 80"}, "hairpin_ports": {"10.64.0.3 . 10.64.0.3": ""}},
        {},
    )
    model.run(clear_ports("t"))
    assert model.content() == ({}, {})


def test_a_loopback_api_server_is_reached_at_loopback() -> None:
    settings = Settings(paths=Paths(Path("/x")))
    told, other = (settings.gateway, settings.api_port), ("10.64.0.2", 80)
    assert reachable(settings, service([told, other])).endpoints == (("127.0.0.1", settings.api_port), other)
    public = Settings(paths=Paths(Path("/x")), api_address="192.0.2.1")
    assert reachable(public, service([told])).endpoints == (told,)
    assert "dnat ip to 127.0.0.1:6443" in base(settings)
    assert "dnat ip to 127.0.0.1:6443" not in base(public)
