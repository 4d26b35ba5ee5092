"""RoutingPolicies in a lab of routers of three makes: they filter and tag, can be changed while routers run, and are
missed where they are not there."""

import json
import subprocess
from pathlib import Path

from test_labs import World, until
from test_labs import world as world  # the fixture

from weft.core.ids import short_hash

LAB = """
apiVersion: net.weft.dev/v1
kind: Topology
metadata: {name: filtered}
spec:
  routing:
    protocol: ospf
    ospf: {helloInterval: 1, deadInterval: 4, redistribute: [{source: static, policy: tenants}]}
  routers:
  - {name: w1, static: [{destination: 10.50.1.0/24, blackhole: true}, {destination: 192.0.2.1/32, blackhole: true}]}
  - name: f2
    daemon: frr
    static: [{destination: 10.50.2.0/24, blackhole: true}, {destination: 192.0.2.2/32, blackhole: true}]
  - name: b3
    daemon: bird
    static: [{destination: 10.50.3.0/24, blackhole: true}, {destination: 192.0.2.3/32, blackhole: true}]
  links:
  - {endpoints: [w1, f2]}
  - {endpoints: [f2, b3]}
---
apiVersion: net.weft.dev/v1
kind: RoutingPolicy
metadata: {name: tenants}
spec:
  prefixLists:
  - {name: tenants, rules: [{prefix: 10.50.0.0/16, ge: 24, le: 24}]}
  statements:
  - {action: permit, match: {prefixList: tenants}, set: {metric: 77, tag: 4711}}
"""
OTHER = {"spec": {"prefixLists": [{"name": "tenants", "rules": [{"prefix": "192.0.2.0/24", "ge": 32}]}]}}


def externals(world: World) -> set[tuple[str, str, str]]:
    """(prefix, metric, tag) of the external LSAs that FRR has and that are not on their way out."""
    name = f"weft-{short_hash(f'/run/netns/{world.settings.instance}-filtered-f2', 10)}"
    text = subprocess.run(
        ["vtysh", "-N", name, "-c", "show ip ospf database external"], capture_output=True, text=True, check=False
    ).stdout
    found = set()
    for lsa in text.split("LS age: ")[1:]:
        fields = dict(line.strip().split(": ", 1) for line in lsa.splitlines()[1:] if ": " in line)
        if not lsa.startswith("3600"):
            found.add((fields["Link State ID"].split()[0], fields["Metric"], fields["External Route Tag"]))
    return found


def processes(world: World) -> set[str]:
    """FRR's ospfd and BIRD, by their numbers."""
    name = f"weft-{short_hash(f'/run/netns/{world.settings.instance}-filtered-f2', 10)}"
    files = [Path("/run/frr") / name / "ospfd.pid", *(world.settings.paths.run / "routing").glob("*/b3/bird.pid")]
    return {file.read_text().strip() for file in files}


def test_a_policy_filters_and_tags_at_routers_of_three_makes_and_may_change(world: World, tmp_path: Path) -> None:
    file = tmp_path / "filtered.yaml"
    file.write_text(LAB)
    world.lab("up", str(file))
    tenants = {(f"10.50.{n}.0", "77", "4711") for n in (1, 2, 3)}
    until("what the policy lets through is everywhere", lambda: externals(world) == tenants, 40)
    until("also in w1's kernel", lambda: "10.50.3.0/24" in world.kernel_routes("w1", "filtered"), 10)

    refused = world.kubectl("patch", "routingpolicy", "tenants", "--type=merge", "-p", '{"spec":{"default":"perhaps"}}',
                            code=1)  # fmt: skip
    assert "spec.default" in refused
    running = processes(world)
    assert len(running) == 2
    world.kubectl("patch", "routingpolicy", "tenants", "--type=merge", "-p", json.dumps(OTHER))
    others = {(f"192.0.2.{n}", "77", "4711") for n in (1, 2, 3)}
    until("what it lets through now", lambda: externals(world) == others, 40)
    until("w1 has the others'", lambda: "192.0.2.3" in world.kernel_routes("w1", "filtered"), 10)

    assert processes(world) == running, "none was started anew"

    world.kubectl("delete", "routingpolicy", "tenants")
    shown = ("get", "router", "w1.filtered", "-o", "jsonpath={.status.phase} {.status.message}")
    why = "Failed cannot redistribute by RoutingPolicy tenants: there is none of that name"
    until("its lack is told", lambda: world.kubectl(*shown) == why)
    until("by the lab too", lambda: "RoutingPolicy tenants" in world.lab("status", "--lab", "filtered"))
    world.lab("up", str(file))
    until("the file brings it back", lambda: externals(world) == tenants, 40)
    owner = world.kubectl("get", "routingpolicy", "tenants", "-o", "jsonpath={.metadata.ownerReferences[0].kind}")
    assert owner == "Topology"
    world.lab("down", "filtered")
