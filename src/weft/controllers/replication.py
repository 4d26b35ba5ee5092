"""ReplicationController: what ReplicaSet came from, and kept as ReplicaSet is.

Its selector is a map of labels; all else is `weft.controllers.replicaset`. Source: Kubernetes
`pkg/controller/replication`, which adapts the ReplicaSet controller too.
"""

from weft.api.gvr import REPLICATIONCONTROLLERS
from weft.controllers.replicaset import ReplicaSetController


class ReplicationControllerController(ReplicaSetController):
    """The same loop over another kind."""

    name = "replicationcontroller"
    kind = "ReplicationController"
    gvr = REPLICATIONCONTROLLERS
    component = "replication-controller"
