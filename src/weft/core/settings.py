"""An instance of Weft: where its state lives, how its kernel objects are named, where it listens.

Several instances run side by side on one machine; each has its own root directory, and every kernel object that it
makes (link, bridge, namespace, nft table, cgroup) bears its short name, so that clean-up never touches another's.
"""

import ipaddress
import json
import os
import socket
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from weft.core.errors import ConflictError, InvalidError
from weft.core.files import write_atomic
from weft.core.ids import short_hash


@dataclass(frozen=True, slots=True)
class Paths:
    """The three directories of an instance, all below its root."""

    root: Path = Path("/")

    @property
    def lib(self) -> Path:
        """State that outlives a restart of the machine."""
        return self.root / "var/lib/weft"

    @property
    def run(self) -> Path:
        """Sockets, pins and other run-time files."""
        return self.root / "run/weft"

    @property
    def etc(self) -> Path:
        """Configuration."""
        return self.root / "etc/weft"

    @property
    def config(self) -> Path:
        """The settings."""
        return self.etc / "config.json"

    @property
    def docker_socket(self) -> Path:
        return self.run / "docker.sock"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.etc / "kubeconfig"

    @property
    def node_kubeconfig(self) -> Path:
        """The node agent's kubeconfig."""
        return self.etc / "node.kubeconfig"

    @property
    def pki(self) -> Path:
        """CA, serving and client certificates: `ca.crt ca.key apiserver.crt apiserver.key node.crt node.key ...`."""
        return self.lib / "pki"


@dataclass(frozen=True, slots=True)
class Settings:
    """What an instance was told, kept in `etc/weft/config.json`. Addresses are CIDR strings, ports numbers.

    `store` is where the API keeps its state: an address `etcd://...`, or nothing for a file of its own.
    """

    paths: Paths = field(default_factory=Paths)
    api_address: str = "127.0.0.1"
    api_port: int = 6443
    registry_address: str = "127.0.0.1"
    registry_port: int = 5000
    kubelet_port: int = 10250
    pod_subnet: str = "10.64.0.0/16"
    service_subnet: str = "10.128.0.0/16"
    node_port_min: int = 30000
    node_port_max: int = 32767
    node_name: str = "weft"
    cluster_domain: str = "cluster.local"
    runtime: str = "auto"
    store: str = ""

    @property
    def instance(self) -> str:
        """At most five characters, the prefix of every kernel object: `weft`, or `w` + 4 hex digits of the root."""
        if self.paths.root == Path("/"):
            return "weft"
        return "w" + short_hash(str(self.paths.root), 4)

    @property
    def bridge(self) -> str:
        """The node's bridge."""
        return f"{self.instance}0"

    @property
    def gateway(self) -> str:
        """The bridge's address: the first of the pod subnet."""
        return str(ipaddress.ip_network(self.pod_subnet)[1])

    @property
    def dns_service_address(self) -> str:
        """The ClusterIP of the DNS service: the tenth of the service subnet, as Kubernetes has it by custom."""
        return str(ipaddress.ip_network(self.service_subnet)[10])

    def save(self) -> None:
        values = {key: value for key, value in asdict(self).items() if key != "paths"}
        write_atomic(self.paths.config, (json.dumps(values, indent=2) + "\n").encode())

    @classmethod
    def load(cls, root: Path) -> Self:
        """Reads the settings of the instance at `root`; raises FileNotFoundError, InvalidError."""
        paths = Paths(root)
        file = paths.config
        known = {entry.name for entry in fields(cls)} - {"paths"}
        try:
            values: dict[str, Any] = json.loads(file.read_text())
        except json.JSONDecodeError as error:
            raise InvalidError(f"cannot read {file}: {error}") from error
        if not isinstance(values, dict):
            raise InvalidError(f"cannot read {file}: not an object")
        if unknown := set(values) - known:
            raise InvalidError(f"cannot read {file}: unknown settings: {', '.join(sorted(unknown))}")
        settings = cls(paths=paths, **values)
        settings.check()
        return settings

    @classmethod
    def load_or_create(cls, root: Path, **overrides: Any) -> Self:
        """The instance's settings, with `overrides` applied and saved; a new instance gets free subnets.

        A port of 0 becomes a free one. Raises InvalidError, ConflictError.
        """
        try:
            settings = cls.load(root)
        except FileNotFoundError:
            settings = cls(paths=Paths(root))
            pods, services = free_subnets(root)
            settings = replace(settings, pod_subnet=pods, service_subnet=services)
        settings = replace(settings, **overrides)
        for name in ("api_port", "registry_port", "kubelet_port"):
            if getattr(settings, name) == 0:
                chosen: dict[str, Any] = {name: free_port()}
                settings = replace(settings, **chosen)
        settings.check()
        settings.save()
        return settings

    def check(self) -> None:
        """Raises InvalidError where a value cannot be used."""
        networks = []
        for name in ("pod_subnet", "service_subnet"):
            try:
                network = ipaddress.IPv4Network(getattr(self, name))
            except ValueError as error:
                raise InvalidError(f"setting {name}: {error}") from error
            if network.prefixlen > 24:
                raise InvalidError(f"setting {name}: {network} is too small, at most /24")
            networks.append(network)
        if networks[0].overlaps(networks[1]):
            raise InvalidError(f"setting service_subnet: {networks[1]} overlaps the pod subnet {networks[0]}")
        for name in ("api_port", "registry_port", "kubelet_port", "node_port_min", "node_port_max"):
            port = getattr(self, name)
            if not isinstance(port, int) or not 0 < port < 65536:
                raise InvalidError(f"setting {name}: {port!r} is not a port between 1 and 65535")
        if self.node_port_min > self.node_port_max:
            raise InvalidError(f"setting node_port_max: {self.node_port_max} is below {self.node_port_min}")


def free_port() -> int:
    """A TCP port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_subnets(root: Path) -> tuple[str, str]:
    """A pod and a service subnet (10.64+k/16, 10.128+k/16) that no route of this machine overlaps."""
    routed = _routed_networks()
    start = 0 if root == Path("/") else 1 + int(short_hash(str(root)), 16) % 63
    for step in range(64):
        k = (start + step) % 64
        pods, services = ipaddress.IPv4Network(f"10.{64 + k}.0.0/16"), ipaddress.IPv4Network(f"10.{128 + k}.0.0/16")
        if not any(network.overlaps(pods) or network.overlaps(services) for network in routed):
            return str(pods), str(services)
    raise ConflictError("cannot choose subnets: all of 10.64.0.0/10 is routed elsewhere; set pod_subnet yourself")


def _routed_networks() -> list[ipaddress.IPv4Network]:
    try:
        lines = Path("/proc/net/route").read_text().splitlines()[1:]
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        columns = line.split()
        destination, mask = (int(columns[index], 16).to_bytes(4, "little") for index in (1, 7))
        network = ipaddress.IPv4Network((destination, str(ipaddress.IPv4Address(mask))))
        if network.prefixlen > 0:
            found.append(network)
    return found


def is_root() -> bool:
    return os.geteuid() == 0
