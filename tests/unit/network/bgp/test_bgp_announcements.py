"""Which addresses of services a node announces to a peer, in what words, and what is said of wrong objects."""

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.core.errors import InvalidError
from weft.network.routing.bgp import (
    Announcement,
    announcements,
    commands,
    configuration,
    read_advertisement,
    read_peer,
    validate_advertisement,
    validate_peer,
)
from weft.network.routing.bgp.announce import Node
from weft.network.topology.resources import crds

PEER: dict[str, Any] = {
    "metadata": {"name": "tor"},
    "spec": {"myASN": 64512, "peerASN": 64513, "peerAddress": "10.0.0.1"},
}
HERE, THERE = Node("n1", {"rack": "a"}), Node("n2", {"rack": "b"})


def advertisement(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "all"}, "spec": spec}


def service(name: str = "web", **more: Any) -> dict[str, Any]:
    spec = {"type": "LoadBalancer", "clusterIP": "10.96.0.7", "externalIPs": ["198.51.100.7", "2001:db8::7"], **more}
    status = {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}, {"hostname": "elsewhere"}]}}
    return {"metadata": {"namespace": "d", "name": name, "labels": {"app": name}}, "spec": spec, "status": status}


def endpoints(name: str = "web", node: str = "n1", **conditions: bool) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": name}
    endpoint = {"addresses": ["10.88.0.2"], "conditions": conditions, "nodeName": node}
    return {"metadata": {"namespace": "d", "labels": labels}, "endpoints": [endpoint]}


def announced(
    *adverts: dict[str, Any],
    services: list[dict[str, Any]] | None = None,
    slices: list[dict[str, Any]] | None = None,
    node: Node = HERE,
    peer: dict[str, Any] = PEER,
) -> set[str]:
    found = announcements(
        read_peer(peer),
        node,
        [read_advertisement(each) for each in adverts],
        services if services is not None else [service()],
        slices if slices is not None else [endpoints()],
    )
    return {str(each.prefix) for each in found}


def test_addresses_of_services_by_what_an_advertisement_asks_for() -> None:
    assert announced() == set(), "without an advertisement, nothing"
    assert announced(advertisement()) == {"203.0.113.7/32", "198.51.100.7/32"}
    assert announced(advertisement(addresses=["ClusterIP"])) == {"10.96.0.7/32"}
    assert announced(advertisement(addresses=["ExternalIP"])) == {"198.51.100.7/32"}
    assert announced(advertisement(aggregationLength=24)) == {"203.0.113.0/24", "198.51.100.0/24"}
    plain = service(type="ClusterIP", clusterIP="None", externalIPs=None)
    assert announced(advertisement(addresses=["ClusterIP", "LoadBalancer"]), services=[plain]) == set()


def test_only_while_somebody_answers() -> None:
    for slices in ([], [endpoints(ready=False)], [endpoints("other")]):
        assert announced(advertisement(), slices=slices) == set()
    assert announced(advertisement(), slices=[endpoints(ready=False), endpoints(ready=True)])


def test_local_traffic_policy_needs_an_endpoint_on_the_node() -> None:
    local = [service(externalTrafficPolicy="Local")]
    assert announced(advertisement(), services=local)
    assert not announced(advertisement(), services=local, node=THERE)
    assert announced(advertisement(), node=THERE), "otherwise any node passes it on"


def test_selectors_and_peers() -> None:
    rack = [{"matchLabels": {"rack": "a"}}]
    assert not announced(advertisement(nodeSelectors=rack), node=THERE)
    assert announced(advertisement(nodeSelectors=rack))
    assert not announced(advertisement(peers=["another"]))
    assert not announced(advertisement(), peer={**PEER, "spec": {**PEER["spec"], "nodeSelectors": rack}}, node=THERE)
    expression = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["db"]}]}
    both = {"services": [service(), service("db", externalIPs=["198.51.100.9"])],
            "slices": [endpoints(), endpoints("db")]}  # fmt: skip
    found = announced(advertisement(serviceSelectors=[expression], addresses=["ExternalIP"]), **both)
    assert found == {"198.51.100.9/32"}


def test_two_advertisements_of_one_prefix_are_one_announcement() -> None:
    one = read_advertisement(advertisement(communities=["65535:65281"], localPref=50))
    two = read_advertisement(advertisement(communities=["64512:1"], localPref=70))
    found = announcements(read_peer(PEER), HERE, [one, two], [service(externalIPs=[])], [endpoints()])
    assert found == {Announcement(IPv4Network("203.0.113.7/32"), 70, ("64512:1", "65535:65281"))}


ANNOUNCEMENTS = st.frozensets(
    st.builds(
        Announcement,
        st.sampled_from([IPv4Network(f"192.0.2.{n}/32") for n in range(4)]),
        st.sampled_from([None, 100, 200]),
        st.sampled_from([(), ("1:2",), ("1:2", "3:4")]),
    )
).filter(lambda each: len({a.prefix for a in each}) == len(each))


@given(ANNOUNCEMENTS, ANNOUNCEMENTS)
def test_commands_lead_from_one_set_to_the_other_and_say_nothing_twice(
    before: frozenset[Announcement], after: frozenset[Announcement]
) -> None:
    table = {str(each.prefix): each for each in before}
    lines = commands(before, after)
    for line in lines:
        verb, _, prefix, *rest = line.split()
        assert rest[:2] == ["next-hop", "self"]
        if verb == "withdraw":
            del table[prefix]
        else:
            preference = int(rest[3]) if "local-preference" in rest else None
            communities = tuple(rest[rest.index("[") + 1 : -1]) if "community" in rest else ()
            table[prefix] = Announcement(IPv4Network(prefix), preference, communities)
    assert set(table.values()) == after
    assert len(lines) <= len(before ^ after)
    assert not commands(after, after)


def test_the_configuration_of_exabgp() -> None:
    spec = {**PEER["spec"], "peerPort": 1179, "holdTime": "1m30s", "password": "s3cret", "ebgpMultiHop": True}
    text = configuration(read_peer({**PEER, "spec": spec}), IPv4Address("10.0.0.2"), "/bin/true x")
    lines = [line.strip() for line in text.splitlines()]
    for line in (
        "run /bin/true x;", "neighbor 10.0.0.1 {", "router-id 10.0.0.2;", "local-address 10.0.0.2;", "local-as 64512;",
        "peer-as 64513;", "hold-time 90;", "connect 1179;", "md5-password 's3cret';", "outgoing-ttl 255;",
    ):  # fmt: skip
        assert line in lines


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"myASN": None}, "spec.myASN: Required value"),
        ({"peerASN": 2**32}, "spec.peerASN: Invalid value"),
        ({"peerAddress": ""}, "spec.peerAddress: Required value"),
        ({"peerAddress": "fe80::1"}, "must be an IPv4 address"),
        ({"peerPort": 0}, "spec.peerPort: Invalid value: 0"),
        ({"holdTime": "2s"}, "must be between 3s and 65535s"),
        ({"holdTime": "soon"}, "must be a time such as 90s"),
        ({"password": "a'; run /bin/sh"}, "spec.password: Invalid value"),
        ({"nodeSelectors": [{"matchExpressions": [{"key": "a", "operator": "Near"}]}]}, "spec.nodeSelectors[0]"),
    ],
)
def test_what_is_wrong_with_a_peer_is_said(change: dict[str, Any], said: str) -> None:
    obj = {**PEER, "spec": {**PEER["spec"], **change}}
    assert any(said in str(error) for error in validate_peer(obj)), validate_peer(obj)
    with pytest.raises(InvalidError):
        read_peer(obj)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"addresses": ["NodePort"]}, "spec.addresses[0]: Unsupported value"),
        ({"communities": ["1:65536"]}, "spec.communities[0]: Invalid value"),
        ({"communities": ["no-export; run x"]}, "spec.communities[0]: Invalid value"),
        ({"aggregationLength": 33}, "spec.aggregationLength: Invalid value"),
        ({"peers": ["a", "a"]}, "spec.peers[1]: Duplicate value"),
    ],
)
def test_what_is_wrong_with_an_advertisement_is_said(spec: dict[str, Any], said: str) -> None:
    assert any(said in str(error) for error in validate_advertisement(advertisement(**spec)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "myASN",
                    "peerASN",
                    "peerAddress",
                    "addresses",
                    "nodeSelectors",
                    "matchExpressions",
                    "peers",
                    "matchLabels",
                    "communities",
                    "password",
                    "holdTime",
                    "key",
                    "operator",
                    "values",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(JSON)
def test_any_json_is_read_or_refused(spec: object) -> None:
    obj = {"metadata": {"name": "x"}, "spec": spec}
    if not validate_peer(obj):
        read_peer(obj)
    if not validate_advertisement(obj):
        read_advertisement(obj)
    validate_peer(spec)


def test_definitions_are_shipped() -> None:
    kinds = {crd["spec"]["names"]["kind"]: crd["spec"]["scope"] for crd in crds()}
    assert kinds["BGPPeer"] == kinds["BGPAdvertisement"] == "Cluster"
