"""One rule a file: `filter(pod, node)` gives the reasons why the pod cannot run there, if any; `score` 0 to 100."""

from weft.scheduler.rules import (
    host_ports,
    least_allocated,
    node_affinity,
    node_name,
    node_ready,
    resources_fit,
    spread,
    taints,
    unschedulable,
)

FILTERS = (
    unschedulable.filter,
    node_ready.filter,
    node_name.filter,
    taints.filter,
    node_affinity.filter,
    host_ports.filter,
    resources_fit.filter,
)
SCORES = (least_allocated.score, spread.score)
