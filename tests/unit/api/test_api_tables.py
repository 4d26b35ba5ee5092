"""What `kubectl get` prints, above all the STATUS of pods."""

from typing import Any

import pytest

from weft.api.gvr import (
    CONFIGMAPS,
    CRDS,
    DEPLOYMENTS,
    ENDPOINTS,
    ENDPOINTSLICES,
    EVENTS,
    GVR,
    NAMESPACES,
    NODES,
    PODS,
    REPLICASETS,
    SECRETS,
    SERVICES,
)
from weft.api.kinds import Kinds, ResourceType
from weft.api.paths import compile_path, set_path
from weft.api.table import partial_metadata, to_table
from weft.api.table.printing import human_duration

KINDS = Kinds.builtin()
NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z
META = {"name": "x", "creationTimestamp": "2023-11-14T22:00:00Z"}


def kind(gvr: GVR) -> ResourceType:
    found = KINDS.by_gvr(gvr)
    assert found is not None
    return found


def row(gvr: GVR, obj: dict[str, Any]) -> dict[str, Any]:
    """Column -> cell."""
    table = to_table(kind(gvr), [{"metadata": META, **obj}], "7", now=NOW)
    (only,) = table["rows"]
    return dict(zip((column["name"] for column in table["columnDefinitions"]), only["cells"], strict=True))


def state(**fields: Any) -> dict[str, Any]:
    return {"name": "c", "restartCount": 0, "ready": False, **fields}


RUNNING = state(ready=True, state={"running": {}})
TWO = {"spec": {"containers": [{"name": "c"}, {"name": "d"}]}}
INIT = {"spec": {"containers": [{"name": "c"}], "initContainers": [{"name": "i"}, {"name": "j"}]}}


@pytest.mark.parametrize(
    ("pod", "status", "ready"),
    [
        ({"status": {"phase": "Pending"}, **TWO}, "Pending", "0/2"),
        ({"status": {"phase": "Running", "containerStatuses": [RUNNING, RUNNING]}, **TWO}, "Running", "2/2"),
        ({"status": {"phase": "Failed", "reason": "Evicted"}, **TWO}, "Evicted", "0/2"),
        (
            {
                "status": {
                    "phase": "Pending",
                    "containerStatuses": [state(state={"waiting": {"reason": "ImagePullBackOff"}})],
                }
            },
            "ImagePullBackOff",
            "0/0",
        ),
        (
            {"status": {"phase": "Running", "containerStatuses": [state(state={"terminated": {"exitCode": 3}})]}},
            "ExitCode:3",
            "0/0",
        ),
        (
            {"status": {"phase": "Running", "containerStatuses": [state(state={"terminated": {"signal": 9}})]}},
            "Signal:9",
            "0/0",
        ),
        (
            {
                "status": {
                    "phase": "Running",
                    "containerStatuses": [state(state={"terminated": {"reason": "Completed"}}), RUNNING],
                },
                **TWO,
            },
            "NotReady",
            "1/2",
        ),
        (
            {
                "status": {
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "containerStatuses": [state(state={"terminated": {"reason": "Completed"}}), RUNNING],
                },
                **TWO,
            },
            "Running",
            "1/2",
        ),
        (
            {"status": {"phase": "Pending", "initContainerStatuses": [state(state={"running": {}})]}, **INIT},
            "Init:0/2",
            "0/1",
        ),
        (
            {
                "status": {
                    "phase": "Pending",
                    "initContainerStatuses": [
                        state(state={"terminated": {"exitCode": 0}}),
                        state(state={"waiting": {"reason": "CrashLoopBackOff"}}),
                    ],
                },
                **INIT,
            },
            "Init:CrashLoopBackOff",
            "0/1",
        ),
        (
            {"status": {"phase": "Pending", "initContainerStatuses": [state(state={"terminated": {"exitCode": 1}})]}},
            "Init:ExitCode:1",
            "0/0",
        ),
        (
            {
                "metadata": {**META, "deletionTimestamp": "2023-11-14T22:13:00Z"},
                "status": {"phase": "Running", "containerStatuses": [RUNNING]},
                **TWO,
            },
            "Terminating",
            "1/2",
        ),
        (
            {
                "status": {
                    "phase": "Pending",
                    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}],
                }
            },
            "SchedulingGated",
            "0/0",
        ),
    ],
)
def test_pod_status(pod: dict[str, Any], status: str, ready: str) -> None:
    cells = row(PODS, pod)
    assert (cells["Status"], cells["Ready"]) == (status, ready)


def test_pod_row() -> None:
    restarted = state(
        ready=True,
        restartCount=2,
        state={"running": {}},
        lastState={"terminated": {"finishedAt": "2023-11-14T22:10:00Z"}},
    )
    pod = {
        "spec": {"containers": [{"name": "c"}], "nodeName": "n", "readinessGates": [{"conditionType": "g"}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [restarted]},
    }
    assert row(PODS, pod) == {
        "Name": "x",
        "Ready": "1/1",
        "Status": "Running",
        "Restarts": "2 (3m20s ago)",
        "Age": "13m",
        "IP": "10.0.0.1",
        "Node": "n",
        "Nominated Node": "<none>",
        "Readiness Gates": "0/1",
    }


def test_ended_pods_are_marked() -> None:
    table = to_table(kind(PODS), [{"metadata": META, "status": {"phase": "Succeeded"}}], now=NOW)
    assert table["rows"][0]["conditions"][0]["reason"] == "Succeeded"


WORKLOAD = {
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"spec": {"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "j"}]}},
    },
    "status": {"replicas": 3, "readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2},
}


@pytest.mark.parametrize(
    ("gvr", "obj", "cells"),
    [
        (DEPLOYMENTS, WORKLOAD, ["x", "2/3", 1, 2, "13m", "c,d", "i,j", "a=b"]),
        (REPLICASETS, WORKLOAD, ["x", 3, 3, 2, "13m", "c,d", "i,j", "a=b"]),
        (
            SERVICES,
            {"spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "ports": [{"port": 80, "nodePort": 30080}]}},
            ["x", "NodePort", "10.0.0.1", "<none>", "80:30080/TCP", "13m", "<none>"],
        ),
        (
            SERVICES,
            {"spec": {"type": "LoadBalancer", "selector": {"b": "c", "a": "b"}}},
            ["x", "LoadBalancer", "<none>", "<pending>", "<none>", "13m", "a=b,b=c"],
        ),
        (
            SERVICES,
            {"spec": {"type": "ExternalName", "externalName": "e.org"}},
            ["x", "ExternalName", "<none>", "e.org", "<none>", "13m", "<none>"],
        ),
        (
            ENDPOINTS,
            {"subsets": [{"addresses": [{"ip": f"10.0.0.{n}"} for n in range(5)], "ports": [{"port": 80}]}]},
            ["x", "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more...", "13m"],
        ),
        (
            ENDPOINTSLICES,
            {"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [{"addresses": ["10.0.0.1"]}]},
            ["x", "IPv4", "80", "10.0.0.1", "13m"],
        ),
        (ENDPOINTSLICES, {"addressType": "IPv4"}, ["x", "IPv4", "<unset>", "<unset>", "13m"]),
        (CONFIGMAPS, {"data": {"a": ""}, "binaryData": {"b": ""}}, ["x", 2, "13m"]),
        (SECRETS, {"type": "Opaque", "data": {"a": ""}}, ["x", "Opaque", 1, "13m"]),
        (NAMESPACES, {"status": {"phase": "Active"}}, ["x", "Active", "13m"]),
        (CRDS, {}, ["x", "2023-11-14T22:00:00Z"]),
        (
            EVENTS,
            {
                "lastTimestamp": "2023-11-14T22:13:00Z",
                "type": "Normal",
                "reason": "R",
                "involvedObject": {"kind": "Pod", "name": "p"},
                "message": "m\n",
                "source": {"component": "c", "host": "h"},
            },
            ["20s", "Normal", "R", "pod/p", "", "c, h", "m", "<unknown>", 1, "x"],
        ),
    ],
)
def test_rows(gvr: GVR, obj: dict[str, Any], cells: list[Any]) -> None:
    assert list(row(gvr, obj).values()) == cells


def test_node_row() -> None:
    node = {
        "metadata": {**META, "labels": {"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "a"}},
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "nodeInfo": {"kubeletVersion": "v1"},
        },
    }
    cells = row(NODES, node)
    assert cells["Status"] == "Ready,SchedulingDisabled"
    assert cells["Roles"] == "a,control-plane"
    assert (cells["Internal-IP"], cells["External-IP"], cells["OS-Image"]) == ("10.0.0.1", "<none>", "<unknown>")
    assert row(NODES, {})["Status"] == "Unknown"


@pytest.mark.parametrize("rtype", KINDS.all(), ids=lambda rtype: rtype.kind)
def test_every_kind_prints_an_empty_object(rtype: ResourceType) -> None:
    table = to_table(rtype, [{}], "1", "Object", now=NOW)
    assert len(table["rows"][0]["cells"]) == len(table["columnDefinitions"])
    assert [column["name"] for column in table["columnDefinitions"] if column["format"] == "name"] == ["Name"]


def test_what_rows_carry() -> None:
    pod = {"metadata": META, "spec": {}}
    for include, expected in (("None", None), ("Metadata", partial_metadata(pod)), ("Object", pod)):
        table = to_table(kind(PODS), [pod], "7", include, now=NOW)  # type: ignore[arg-type]
        assert table["rows"][0]["object"] == expected
    table = to_table(kind(PODS), [], "7", continue_token="t", remaining=3, with_columns=False)
    assert table["metadata"] == {"resourceVersion": "7", "continue": "t", "remainingItemCount": 3}
    assert table["columnDefinitions"] is None


def test_columns_of_custom_resources() -> None:
    columns = [
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
        {"name": "Names", "type": "string", "jsonPath": ".spec.list[*].name", "priority": 1},
        {"name": "Since", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "Flag", "type": "boolean", "jsonPath": ".spec.flag"},
    ]
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    crd: dict[str, Any] = {
        "metadata": {"name": "as.b.c"},
        "spec": {"group": "b.c", "scope": "Cluster", "names": {"plural": "as", "kind": "A"}, "versions": [version]},
    }
    kinds = Kinds.builtin()
    (plain,) = kinds.add_crd(crd)
    assert [c["name"] for c in to_table(plain, [])["columnDefinitions"]] == ["Name", "Age"]
    version["additionalPrinterColumns"] = columns
    (rtype,) = kinds.add_crd(crd)
    conditions = [{"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}]
    obj = {
        "metadata": META,
        "spec": {"size": 3, "list": [{"name": "p"}, {"name": "q"}], "flag": False},
        "status": {"conditions": conditions},
    }
    table = to_table(rtype, [obj, {"metadata": META, "spec": {"size": "three"}}], now=NOW)
    assert table["rows"][0]["cells"] == ["x", 3, "True", "p q", "13m", False]
    assert table["rows"][1]["cells"] == ["x", None, None, None, "13m", None]
    assert [column["priority"] for column in table["columnDefinitions"]] == [0, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (600, "10m"),
        (9000, "150m"), (10800, "3h"), (18060, "5h1m"), (108000, "30h"), (180000, "2d2h"), (777600, "9d"),
        (69120000, "2y70d"), (283824000, "9y"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.b", [1]), ("a.b", [1]), ("{.a.b}", [1]), ("$.a.b", [1]), (".l[0]", [1]), (".l[-1]", [3]), (".l[9]", []),
        (".l[*]", [1, 2, 3]), ("['x.y'].z", [True]), (r".x\.y.z", [True]), (".no.b", []),
        (".c[?(@.t=='r')].s", ["ok"]), (".c[?(@.t!='r')].s", ["no"]), (".", [None]),
    ],
)  # fmt: skip
def test_paths(path: str, found: list[Any]) -> None:
    obj = {"a": {"b": 1}, "l": [1, 2, 3], "x.y": {"z": True}, "c": [{"t": "r", "s": "ok"}, {"t": "o", "s": "no"}]}
    assert compile_path(path)(obj) == ([obj] if found == [None] else found)


def test_set_path() -> None:
    obj: dict[str, Any] = {"spec": {"a": 1}}
    set_path(obj, ".spec.scale.size", 3)
    assert obj == {"spec": {"a": 1, "scale": {"size": 3}}}
    for path in ("[[", ".a[", ".a[?(x)]", ".a..b"):
        with pytest.raises(ValueError, match="cannot read the path"):
            compile_path(path)
