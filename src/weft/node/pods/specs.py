"""A container of a pod as the engine's ContainerSpec. Pure: all files and variables are there already.

Source: kubernetes `pkg/kubelet/kuberuntime/kuberuntime_container.go`, `pkg/kubelet/qos/policy.go`,
`pkg/kubelet/cm/helpers_linux.go`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from weft.api import quantity
from weft.client.base import Object
from weft.container.spec import ContainerSpec, Mount, Resources
from weft.core.sandbox import PortBinding
from weft.node.environment import expand
from weft.node.fields import ConfigError
from weft.node.pods.decide import is_host_network
from weft.node.pods.names import container_name, labels

_Words = tuple[str, ...]

CPU_PERIOD = 100_000
_MIN_SHARES, _MAX_SHARES = 2, 262_144
_MIN_QUOTA = 1000


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the pod's node gives to a container."""

    image: str
    image_user: str
    attempt: int
    failures: int
    env: Mapping[str, str]
    mounts: tuple[Mount, ...]
    netns_path: str
    hostname: str
    nameserver: str
    cluster_domain: str
    machine_memory: int
    host_resolver: tuple[_Words, _Words, _Words] = field(default=((), (), ()))


def container_spec(pod: Object, container: Mapping[str, Any], around: Surroundings) -> ContainerSpec:
    """Raises ConfigError for what this node cannot give."""
    spec = pod["spec"]
    if spec.get("shareProcessNamespace"):
        raise ConfigError("shareProcessNamespace is not supported on this node")
    pod_security, own = spec.get("securityContext") or {}, container.get("securityContext") or {}
    security = {**pod_security, **own}
    user = _user(security, around.image_user)
    servers, search, options = dns(pod, around)
    groups = list(pod_security.get("supplementalGroups") or [])
    if pod_security.get("fsGroup") is not None:
        groups.append(pod_security["fsGroup"])
    capabilities = own.get("capabilities") or {}
    profile = (security.get("seccompProfile") or {}).get("type", "RuntimeDefault")
    message_path = container.get("terminationMessagePath") or "/dev/termination-log"
    return ContainerSpec(
        image=around.image,
        name=container_name(pod, container["name"], around.attempt),
        entrypoint=_expanded(container.get("command"), around.env),
        command=_expanded(container.get("args"), around.env),
        env=tuple(f"{key}={value}" for key, value in around.env.items()),
        working_dir=container.get("workingDir") or None,
        user=user,
        groups=tuple(groups),
        hostname="" if is_host_network(pod) else around.hostname,
        labels=labels(pod, container["name"], around.attempt, around.failures, message_path),
        tty=bool(container.get("tty")),
        open_stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        mounts=around.mounts,
        network="host" if is_host_network(pod) else f"netns:{around.netns_path}",
        ipc="host" if spec.get("hostIPC") else "private",
        pid="host" if spec.get("hostPID") else "private",
        dns=servers,
        dns_search=search,
        dns_options=options,
        resources=resources(pod, container, around.machine_memory),
        cap_add=tuple(capabilities.get("add") or ()),
        cap_drop=tuple(capabilities.get("drop") or ()),
        privileged=bool(own.get("privileged")),
        no_new_privileges=own.get("allowPrivilegeEscalation") is False,
        seccomp="unconfined" if profile == "Unconfined" else "default",
        read_only=bool(own.get("readOnlyRootFilesystem")),
        sysctls={each["name"]: each["value"] for each in pod_security.get("sysctls") or []},
    )


def _expanded(words: list[str] | None, env: Mapping[str, str]) -> tuple[str, ...] | None:
    return tuple(expand(word, env) for word in words) if words else None


def _user(security: Mapping[str, Any], image_user: str) -> str | None:
    """`uid:gid`, or None for what the image says; runAsNonRoot is checked here."""
    uid, gid = security.get("runAsUser"), security.get("runAsGroup")
    if security.get("runAsNonRoot"):
        name = image_user.partition(":")[0]
        if uid == 0:
            raise ConfigError("container's runAsUser breaks non-root policy")
        if uid is None and name in ("", "0", "root"):
            raise ConfigError("container has runAsNonRoot and image will run as root")
        if uid is None and not name.isdigit():
            raise ConfigError(
                f"container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root"
            )
    if uid is None and gid is None:
        return None
    who = str(uid) if uid is not None else image_user.partition(":")[0] or "0"
    return f"{who}:{gid}" if gid is not None else who


def dns(pod: Object, around: Surroundings) -> tuple[_Words, _Words, _Words]:
    """(nameservers, search, options) by dnsPolicy and dnsConfig."""
    spec = pod["spec"]
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    domain, namespace = around.cluster_domain, pod["metadata"]["namespace"]
    servers, search, options = _Words(), _Words(), _Words()
    if policy == "Default" or (policy == "ClusterFirst" and is_host_network(pod)):
        servers, search, options = around.host_resolver
    elif policy != "None":
        servers = (around.nameserver,)
        search = (f"{namespace}.svc.{domain}", f"svc.{domain}", domain)
        options = ("ndots:5",)
    config = spec.get("dnsConfig") or {}
    servers = tuple(dict.fromkeys([*servers, *(config.get("nameservers") or [])]))
    search = tuple(dict.fromkeys([*search, *(config.get("searches") or [])]))
    given = [_option(each) for each in config.get("options") or []]
    names = {each.partition(":")[0] for each in given}
    options = (*(each for each in options if each.partition(":")[0] not in names), *given)
    return servers, search, options


def _option(value: Mapping[str, Any]) -> str:
    return f"{value['name']}:{value['value']}" if value.get("value") else str(value["name"])


def read_resolv_conf(text: str) -> tuple[_Words, _Words, _Words]:
    """(nameservers, search, options) of a resolv.conf(5)."""
    found: dict[str, list[str]] = {"nameserver": [], "search": [], "options": []}
    for line in text.splitlines():
        word, *rest = line.split("#", 1)[0].split() or [""]
        if word == "nameserver":
            found[word] += rest[:1]
        elif word in ("search", "options"):
            found[word] = rest
    return tuple(found["nameserver"]), tuple(found["search"]), tuple(found["options"])


def hostname(pod: Object) -> str:
    return str(pod["spec"].get("hostname") or pod["metadata"]["name"])[:63].rstrip("-.")


def fully_qualified(pod: Object, domain: str) -> str:
    """`hostname.subdomain.namespace.svc.domain` where the pod has a subdomain, else its host name."""
    subdomain = pod["spec"].get("subdomain")
    name = hostname(pod)
    return f"{name}.{subdomain}.{pod['metadata']['namespace']}.svc.{domain}\t{name}" if subdomain else name


def resources(pod: Object, container: Mapping[str, Any], machine_memory: int) -> Resources:
    wanted = container.get("resources") or {}
    limits, requests = wanted.get("limits") or {}, wanted.get("requests") or {}
    cpu_limit = quantity.to_milli(limits.get("cpu", 0))
    cpu_request = quantity.to_milli(requests.get("cpu", limits.get("cpu", 0)))
    memory = quantity.to_int(limits.get("memory", 0))
    memory_request = quantity.to_int(requests.get("memory", limits.get("memory", 0)))
    return Resources(
        memory=memory,
        memory_swap=memory,  # no swap beyond the limit
        cpu_quota=max(cpu_limit * CPU_PERIOD // 1000, _MIN_QUOTA) if cpu_limit else 0,
        cpu_period=CPU_PERIOD if cpu_limit else 0,
        cpu_shares=min(max(cpu_request * 1024 // 1000, _MIN_SHARES), _MAX_SHARES),
        oom_score_adj=_oom_score(pod, memory_request, machine_memory),
    )


def _oom_score(pod: Object, memory_request: int, machine_memory: int) -> int:
    """Who dies first when the machine has no memory left: who asked for the least of it."""
    quality = (pod.get("status") or {}).get("qosClass", "BestEffort")
    if quality == "Guaranteed":
        return -997
    if quality == "BestEffort" or not machine_memory:
        return 1000
    return min(max(1000 - 1000 * memory_request // machine_memory, 3), 999)


def host_ports(pod: Object) -> tuple[PortBinding, ...]:
    """The ports of the host that lead to the pod."""
    if is_host_network(pod):
        return ()
    return tuple(
        PortBinding(
            int(port["containerPort"]),
            "udp" if port.get("protocol") == "UDP" else "tcp",
            port.get("hostIP") or "",
            int(port["hostPort"]),
        )
        for each in [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]
        for port in each.get("ports") or []
        if port.get("hostPort")
    )


_PROPAGATION = {"HostToContainer": "rslave", "Bidirectional": "rshared"}


def volume_mount(mount: Mapping[str, Any], source: str, *, read_only: bool) -> Mount:
    path = re.sub(r"/+$", "", mount["mountPath"]) or "/"
    path = path if path.startswith("/") else f"/{path}"
    return Mount(
        target=path,
        source=source,
        read_only=read_only or bool(mount.get("readOnly")),
        propagation=_PROPAGATION.get(mount.get("mountPropagation") or "", "rprivate"),
    )
