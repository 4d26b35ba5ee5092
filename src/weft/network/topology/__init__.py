"""Labs as values: routers, switches, hosts and links, read from a `Topology` object and checked.

Who is next: `weft.network.controller`, which decides addresses and routes.
"""

from weft.network.topology.model import Endpoint, Host, Link, Router, Switch, Topology
from weft.network.topology.reader import read_topology, validate_topology

__all__ = ["Endpoint", "Host", "Link", "Router", "Switch", "Topology", "read_topology", "validate_topology"]
