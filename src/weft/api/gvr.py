"""Names of resources: group, version, resource (plural), as they stand in URLs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class GVR:
    """`GVR("apps", "v1", "deployments")`; the core group is the empty string."""

    group: str
    version: str
    resource: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of the collection or object."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace is not None:
            parts += ["namespaces", namespace]
        parts.append(self.resource)
        if name is not None:
            parts.append(name)
        if subresource is not None:
            parts.append(subresource)
        return "/" + "/".join(parts)

    def __str__(self) -> str:
        return f"{self.resource}.{self.group}" if self.group else self.resource


NAMESPACES = GVR("", "v1", "namespaces")
NODES = GVR("", "v1", "nodes")
PODS = GVR("", "v1", "pods")
SERVICES = GVR("", "v1", "services")
ENDPOINTS = GVR("", "v1", "endpoints")
CONFIGMAPS = GVR("", "v1", "configmaps")
SECRETS = GVR("", "v1", "secrets")
SERVICEACCOUNTS = GVR("", "v1", "serviceaccounts")
EVENTS = GVR("", "v1", "events")
ENDPOINTSLICES = GVR("discovery.k8s.io", "v1", "endpointslices")
REPLICASETS = GVR("apps", "v1", "replicasets")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
STATEFULSETS = GVR("apps", "v1", "statefulsets")
DAEMONSETS = GVR("apps", "v1", "daemonsets")
CONTROLLERREVISIONS = GVR("apps", "v1", "controllerrevisions")
REPLICATIONCONTROLLERS = GVR("", "v1", "replicationcontrollers")
PERSISTENTVOLUMECLAIMS = GVR("", "v1", "persistentvolumeclaims")
JOBS = GVR("batch", "v1", "jobs")
CRONJOBS = GVR("batch", "v1", "cronjobs")
PODDISRUPTIONBUDGETS = GVR("policy", "v1", "poddisruptionbudgets")
CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")

NETWORK_GROUP = "net.weft.dev"
TOPOLOGIES = GVR(NETWORK_GROUP, "v1", "topologies")
ROUTERS = GVR(NETWORK_GROUP, "v1", "routers")
HOSTS = GVR(NETWORK_GROUP, "v1", "hosts")
LINKS = GVR(NETWORK_GROUP, "v1", "links")
ROUTETABLES = GVR(NETWORK_GROUP, "v1", "routetables")
