"""How a pod's containers are named and labelled, and how they are found again after a restart of the node.

The labels are the kubelet's (kubernetes, `pkg/kubelet/types/labels.go`, and dockershim's `annotation.` prefix), so
other tools know them too.
"""

import re
from collections.abc import Mapping

from weft.client.base import Object

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"
RESTART_COUNT = "annotation.io.kubernetes.container.restartCount"
TERMINATION_MESSAGE = "annotation.io.kubernetes.container.terminationMessagePath"
# How often in a row the container failed soon, before this attempt: the back-off survives a restart of the node.
FAILURES = "weft.dev/failures"

_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def uid_of(pod: Object) -> str:
    return str(pod["metadata"]["uid"])


def labels(pod: Object, container: str, attempt: int, failures: int, message_path: str) -> Mapping[str, str]:
    metadata = pod["metadata"]
    return {
        POD_NAME: metadata["name"],
        POD_NAMESPACE: metadata["namespace"],
        POD_UID: metadata["uid"],
        CONTAINER_NAME: container,
        RESTART_COUNT: str(attempt),
        TERMINATION_MESSAGE: message_path,
        FAILURES: str(failures),
    }


def container_name(pod: Object, container: str, attempt: int) -> str:
    """`k8s_<container>_<pod>_<namespace>_<uid>_<attempt>`, as dockershim named them."""
    metadata = pod["metadata"]
    return f"k8s_{container}_{metadata['name']}_{metadata['namespace']}_{metadata['uid']}_{attempt}"


def is_pod_uid(text: str) -> bool:
    """A sandbox of such an id is a pod's; containers of the Docker API have 64 digits."""
    return _UID.fullmatch(text) is not None


def describe(pod: Object) -> str:
    """`name_namespace(uid)`, as Kubernetes's messages name a pod."""
    metadata = pod["metadata"]
    return f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
