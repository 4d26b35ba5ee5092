"""One decision: the pod, the nodes and the rules to a node, or to the reasons why there is none. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from weft.client.base import Object
from weft.scheduler.rules import FILTERS, SCORES
from weft.scheduler.snapshot import NodeInfo


@dataclass(frozen=True, slots=True)
class Decision:
    """`node` is empty where no node fits; `message` then says why, in Kubernetes' words."""

    node: str = ""
    message: str = ""


def decide(pod: Object, nodes: Sequence[NodeInfo]) -> Decision:
    """The best node; of equals the first by name."""
    reasons: Counter[str] = Counter()
    best: tuple[float, str] | None = None
    for info in nodes:
        refused = next((why for rule in FILTERS if (why := rule(pod, info))), None)
        if refused:
            reasons.update(refused)
            continue
        total = sum(rule(pod, info) for rule in SCORES)
        if best is None or total > best[0]:
            best = (total, info.name)
    if best is not None:
        return Decision(node=best[1])
    if not nodes:
        return Decision(message="no nodes available to schedule pods")
    listed = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    return Decision(message=f"0/{len(nodes)} nodes are available: {listed}.")
