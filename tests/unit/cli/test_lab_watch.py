"""What `weft lab watch` says of a change."""

from typing import Any

from weft.cli.lab_watch import differences


def router(**status: Any) -> dict[str, Any]:
    return {"kind": "Router", "spec": {"node": "r1"}, "status": status}


def neighbor(state: str) -> dict[str, str]:
    return {"protocol": "ospf", "interface": "r1-r2", "address": "10.0.0.1", "state": state}


def test_neighbors_routes_and_links_are_told() -> None:
    old = router(neighbors=[neighbor("ExStart")], routes=1, phase="Ready")
    new = router(neighbors=[neighbor("Full")], routes=3, phase="Ready")
    assert list(differences(old, new)) == [
        "router r1: ospf r1-r2 10.0.0.1 ExStart -> Full",
        "router r1: 1 -> 3 routes",
    ]
    assert list(differences(new, router(neighbors=[], routes=3, phase="Ready"))) == [
        "router r1: ospf r1-r2 10.0.0.1 Full -> gone"
    ]
    up = {"kind": "Link", "spec": {"name": "r1-r2", "state": "up"}, "status": {"state": "up"}}
    down = {"kind": "Link", "spec": {"name": "r1-r2", "state": "down"}, "status": {"state": "up"}}
    assert list(differences(up, down)) == ["link r1-r2: wanted up -> down"]
    assert list(differences(None, up)) == ["link r1-r2 is there"]
    assert list(differences(up, None)) == ["link r1-r2 is gone"]
    assert not list(differences(new, new))
