"""ResourceQuota: what a write adds is counted in the write's own transaction, so that no limit is ever exceeded.

In: a write into a namespace, the quotas there. Out: the quotas' new status as part of the write; or 403.
Source: apiserver `pkg/admission/plugin/resourcequota/controller.go` (messages).
"""

from collections.abc import Iterator
from decimal import Decimal

from weft.api import quantity
from weft.api.gvr import GVR
from weft.api.kinds import ResourceType
from weft.api.usage import Amounts, applies, resource_of, text, unspecified, usage, used
from weft.apiserver import codec
from weft.apiserver.admission.webhooks import forbidden
from weft.apiserver.api import Api, Attributes, Object
from weft.apiserver.cache import Entry
from weft.store.base import Compare

QUOTAS = GVR("", "v1", "resourcequotas")
_ZERO = Decimal(0)


def count_against_quotas(attributes: Attributes) -> None:
    api, request = attributes.api, attributes.request
    rtype = api.kinds.by_gvr(QUOTAS)
    if rtype is None or not request.namespace or not request.rtype.namespaced:
        return
    if attributes.operation == "DELETE" and attributes.write.puts:
        return  # it waits for finalizers, or for a pod to stop
    if attributes.which == ("", "resourcequotas") and attributes.operation != "DELETE":
        _measure(attributes)
    hub = api.objects.hub(rtype)
    if not hub.entries:
        return
    own = api.objects.key(rtype, request.namespace, request.name) if request.rtype is rtype else ""
    for entry in list(hub.below(api.objects.prefix(rtype, request.namespace))):
        if entry.key != own:
            _count(attributes, entry)


def _count(attributes: Attributes, entry: Entry) -> None:
    quota = entry.object
    hard = (quota.get("status") or {}).get("hard") or {}
    change = _change(attributes, quota)
    change = {name: value for name, value in change.items() if name in hard and value}
    if (
        attributes.operation == "CREATE"
        and attributes.which == ("", "pods")
        and applies(quota, "", "pods", attributes.obj)
    ):
        missing = unspecified(hard, attributes.obj)
        if missing:
            raise forbidden(attributes, f"failed quota: {quota['metadata']['name']}: must specify {'; '.join(missing)}")
    if not change:
        return
    before = {name: quantity.parse(value) for name, value in (quota["status"].get("used") or {}).items()}
    after = {name: max(before.get(name, _ZERO) + value, _ZERO) for name, value in change.items()}
    exceeded = sorted(n for n, v in change.items() if v > 0 and after[n] > quantity.parse(hard[n]))
    if exceeded and attributes.operation != "DELETE":

        def shown(amounts: Amounts) -> str:
            return ",".join(f"{name}={text(name, amounts.get(name, _ZERO), str(hard[name]))}" for name in exceeded)

        limited = {name: quantity.parse(hard[name]) for name in exceeded}
        raise forbidden(
            attributes,
            f"exceeded quota: {quota['metadata']['name']}, requested: {shown(change)}, used: {shown(before)}, "
            f"limited: {shown(limited)}",
        )
    new = codec.copied(quota)
    new["status"].setdefault("used", {}).update({n: text(n, v, str(hard[n])) for n, v in after.items()})
    attributes.write.compares.append(Compare(entry.key, entry.revision))
    attributes.write.puts.append((entry.key, new))


def _change(attributes: Attributes, quota: Object) -> Amounts:
    """What the write adds to the quota's use; less than nothing where it gives back."""
    group, resource = attributes.which
    found: Amounts = {}
    new = None if attributes.operation == "DELETE" else attributes.obj
    old = attributes.obj if attributes.operation == "DELETE" else attributes.old
    for obj, sign in ((new, 1), (old, -1)):
        if obj is not None and applies(quota, group, resource, obj):
            for name, value in usage(group, resource, obj).items():
                found[name] = found.get(name, _ZERO) + sign * value
    return found


def _measure(attributes: Attributes) -> None:
    """A new quota, or new limits: everything that is there is counted."""
    quota, old = attributes.obj, attributes.old
    if attributes.request.subresource or (old is not None and old.get("spec") == quota.get("spec")):
        return
    hard = (quota.get("spec") or {}).get("hard") or {}
    found = used(quota, _present(attributes.api, attributes.request.namespace or "", hard))
    if "resourcequotas" in found and old is None:
        found["resourcequotas"] += 1  # itself
    if "count/resourcequotas" in found and old is None:
        found["count/resourcequotas"] += 1
    quota["status"] = {"hard": dict(hard), "used": {name: text(name, v, str(hard[name])) for name, v in found.items()}}


def _present(api: Api, namespace: str, hard: Object) -> Iterator[tuple[str, str, Object]]:
    for group, resource in sorted({resource_of(name) for name in hard}):
        rtype = _type(api, group, resource)
        if rtype is not None:
            for obj in api.objects.each(rtype, namespace):
                yield group, resource, obj


def _type(api: Api, group: str, resource: str) -> ResourceType | None:
    fitting = (r for r in api.kinds.all() if (r.gvr.group, r.gvr.resource) == (group, resource))
    return next(fitting, None)
