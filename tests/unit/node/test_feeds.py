"""Services and endpoints as the network's table and as names."""

from typing import Any

from weft.node.dns import records
from weft.node.services import service_ports


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = spec.pop("ports", [{"name": "web", "port": 80, "protocol": "TCP"}])
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": "10.1.0.9", "ports": ports, **spec},
    }


def slice_of(name: str, *endpoints: dict[str, Any], port: int = 8080) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": name}
    ports = [{"name": "web", "port": port, "protocol": "TCP"}]
    return {"metadata": {"namespace": "default", "labels": labels}, "endpoints": list(endpoints), "ports": ports}


def endpoint(address: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": {"ready": True, **conditions}}


def test_ports_have_their_ready_endpoints() -> None:
    unready = endpoint("10.9.0.4", ready=False)
    ending = endpoint("10.9.0.5", ready=False, serving=True, terminating=True)
    slices = [slice_of("shop", endpoint("10.9.0.3"), endpoint("10.9.0.2"), unready, ending)]
    (found,) = service_ports([service("shop", sessionAffinity="ClientIP", type="NodePort")], slices)
    assert found.endpoints == (("10.9.0.2", 8080), ("10.9.0.3", 8080))
    assert (found.cluster_ip, found.port, found.protocol, found.client_affinity) == ("10.1.0.9", 80, "tcp", True)
    (last,) = service_ports([service("shop")], [slice_of("shop", unready, ending)])
    assert last.endpoints == (("10.9.0.5", 8080),), "those that end still serve when nobody else does"
    (none,) = service_ports([service("shop")], [slice_of("other", endpoint("10.9.0.2"))])
    assert none.endpoints == ()


def test_headless_external_and_sctp_have_no_rules() -> None:
    sctp = [{"name": "web", "port": 80, "protocol": "SCTP"}]
    services = [
        service("a", clusterIP="None"),
        service("b", type="ExternalName", clusterIP=""),
        service("c", ports=sctp),
    ]
    assert service_ports(services, []) == []


def test_names_of_services_and_of_headless_endpoints() -> None:
    named = {**endpoint("10.9.0.2"), "hostname": "db-0"}
    slices = [slice_of("db", named, endpoint("10.9.0.3"), endpoint("10.9.0.4", ready=False))]
    found = records([service("shop"), service("db", clusterIP="None")], slices, "cluster.local")
    shop, db = "shop.default.svc.cluster.local", "db.default.svc.cluster.local"
    assert found.addresses == {
        shop: ("10.1.0.9",), db: ("10.9.0.2", "10.9.0.3"), f"db-0.{db}": ("10.9.0.2",), f"10-9-0-3.{db}": ("10.9.0.3",),
    }  # fmt: skip
    assert found.services == {
        f"_web._tcp.{shop}": ((shop, 80),),
        f"_web._tcp.{db}": ((f"10-9-0-3.{db}", 8080), (f"db-0.{db}", 8080)),
    }
    assert found.pointers == {"10.1.0.9": shop, "10.9.0.2": f"db-0.{db}", "10.9.0.3": f"10-9-0-3.{db}"}


def test_outside_addresses_are_of_the_first_service_that_claims_them() -> None:
    balanced = {**service("b", type="LoadBalancer", externalIPs=["203.0.113.7", "2001:db8::7"]),
                "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.8"}, {"hostname": "x"}]}}}  # fmt: skip
    found = service_ports([balanced, service("a", externalIPs=["203.0.113.7"])], [])
    assert [(each.name, each.external) for each in found] == [("a", ("203.0.113.7",)), ("b", ("203.0.113.8",))]
