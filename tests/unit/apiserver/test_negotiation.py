"""Accept headers as clients send them, and URLs taken apart."""

import pytest

from weft.api.gvr import GVR
from weft.api.status import ApiError
from weft.apiserver.negotiation import PLAIN, Accepted, accept
from weft.apiserver.url import Target, parse

TABLE = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)
DISCOVERY = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", PLAIN),
        ("*/*", PLAIN),
        ("application/json, */*", PLAIN),
        ("application/vnd.kubernetes.protobuf,application/json", PLAIN),
        ("application/yaml", Accepted("application/yaml", yaml=True)),
        ("application/json;q=0.1,application/yaml", Accepted("application/yaml", yaml=True)),
        (TABLE, Accepted("application/json", "Table", "v1")),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", PLAIN),
        (
            DISCOVERY,
            Accepted(
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", "APIGroupDiscoveryList", "v2"
            ),
        ),
        (
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,"
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
            Accepted("application/json", "PartialObjectMetadataList", "v1"),
        ),
    ],
)
def test_accept(header: str, expected: Accepted) -> None:
    assert accept(header) == expected


@pytest.mark.parametrize("header", ["text/html", "application/vnd.kubernetes.protobuf", "application/json;q=0"])
def test_not_acceptable(header: str) -> None:
    with pytest.raises(ApiError) as caught:
        accept(header)
    assert caught.value.code == 406


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/v1/pods", Target(GVR("", "v1", "pods"))),
        ("/api/v1/namespaces", Target(GVR("", "v1", "namespaces"))),
        ("/api/v1/namespaces/x", Target(GVR("", "v1", "namespaces"), None, "x")),
        ("/api/v1/namespaces/x/status", Target(GVR("", "v1", "namespaces"), None, "x", "status")),
        ("/api/v1/namespaces/x/pods", Target(GVR("", "v1", "pods"), "x")),
        ("/api/v1/namespaces/x/pods/p/log", Target(GVR("", "v1", "pods"), "x", "p", "log")),
        ("/apis/apps/v1/namespaces/x/deployments/d", Target(GVR("apps", "v1", "deployments"), "x", "d")),
        ("/apis/a.b/v1/things/a%2Fb/", Target(GVR("a.b", "v1", "things"), None, "a/b")),
        ("/api/v1", None),
        ("/apis/apps/v1", None),
        ("/api/v1/namespaces/x/pods/p/log/more", None),
        ("/healthz", None),
    ],
)
def test_urls(path: str, target: Target | None) -> None:
    assert parse(path) == target
