"""The rows of services and their endpoints."""

from weft.api.table.printing import NONE, UNSET, Cells, Object, created, first_three, labels, name, prints


@prints("", "Service", "Name|Type|Cluster-IP|External-IP|Port(s)|Age|+Selector")
def service_row(obj: Object, now: float) -> Cells:
    spec = obj.get("spec") or {}
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return [
        name(obj),
        spec.get("type", ""),
        addresses[0] or NONE,
        _external(obj),
        ",".join(map(_port, spec.get("ports") or ())) or NONE,
        created(obj, now),
        labels(spec.get("selector")),
    ]


def _external(obj: Object) -> str:
    spec = obj.get("spec") or {}
    own = spec.get("externalIPs") or []
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", ""))
    if spec.get("type") == "LoadBalancer":
        ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        given = [each.get("ip") or each.get("hostname") or "" for each in ingress]
        return ",".join([*given, *own]) or "<pending>"
    return ",".join(own) or NONE


def _port(port: Object) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}"


@prints("", "Endpoints", "Name|Endpoints|Age")
def endpoints_row(obj: Object, now: float) -> Cells:
    found: list[str] = []
    for subset in obj.get("subsets") or ():
        addresses = [each.get("ip", "") for each in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        found += [_join(address, port.get("port")) for port in ports for address in addresses] if ports else addresses
    return [name(obj), first_three(found, NONE), created(obj, now)]


def _join(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@prints("discovery.k8s.io", "EndpointSlice", "Name|AddressType|Ports|Endpoints|Age")
def endpoint_slice_row(obj: Object, now: float) -> Cells:
    ports = [str(each["port"]) if each.get("port") else "*" for each in obj.get("ports") or ()]
    addresses = [address for each in obj.get("endpoints") or () for address in each.get("addresses") or ()]
    return [
        name(obj),
        obj.get("addressType", ""),
        first_three(ports, UNSET),
        first_three(addresses, UNSET),
        created(obj, now),
    ]
