"""Taints keep pods off a node that do not tolerate them (`plugins/tainttoleration`)."""

from collections.abc import Sequence

from weft.client.base import Object
from weft.scheduler.snapshot import NodeInfo


def tolerated(pod: Object, taint: Object) -> bool:
    for each in pod["spec"].get("tolerations") or []:
        if each.get("effect") and each["effect"] != taint["effect"]:
            continue
        if each.get("operator", "Equal") == "Exists":
            if not each.get("key") or each["key"] == taint["key"]:
                return True
        elif each.get("key") == taint["key"] and each.get("value", "") == taint.get("value", ""):
            return True
    return False


def filter(pod: Object, info: NodeInfo) -> Sequence[str]:
    for taint in (info.node.get("spec") or {}).get("taints") or []:
        if taint["effect"] in ("NoSchedule", "NoExecute") and not tolerated(pod, taint):
            return (f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}",)
    return ()
