"""Namespaces: objects may be created only in one that is there and not being deleted (NamespaceLifecycle)."""

from weft.api.gvr import NAMESPACES
from weft.api.status import ApiError, Cause, not_found
from weft.apiserver.api import Attributes
from weft.store.base import Compare

PROTECTED = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})


def namespace_takes_new_content(attributes: Attributes) -> None:
    """404 or 403; and the write holds only if the namespace is still the same when it comes to it."""
    request, api = attributes.request, attributes.api
    if attributes.operation == "DELETE" and attributes.which == ("", "namespaces") and request.name in PROTECTED:
        raise ApiError(
            "Forbidden",
            f'namespaces "{request.name}" is forbidden: this namespace may not be deleted',
            kind="namespaces",
            name=request.name,
        )
    if attributes.operation != "CREATE" or not request.rtype.namespaced:
        return
    namespace = request.namespace or ""
    rtype = api.kinds.by_gvr(NAMESPACES)
    assert rtype is not None
    entry = api.objects.entry(rtype, None, namespace)
    if entry is None:
        raise not_found("namespaces", namespace)
    name = str(attributes.obj["metadata"].get("name", ""))
    full = f"{request.resource}.{request.group}" if request.group else request.resource
    if "deletionTimestamp" in entry.object["metadata"]:
        raise ApiError(
            "Forbidden",
            f'{full} "{name}" is forbidden: unable to create new content in namespace {namespace} because it is '
            "being terminated",
            kind=request.resource,
            group=request.group,
            name=name,
            causes=[Cause("NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace")],
        )
    attributes.write.compares.append(Compare(entry.key, entry.revision))


def keep_namespace_finalizers(attributes: Attributes) -> None:
    """A namespace goes when its content is gone: spec.finalizers, written through /finalize only."""
    if attributes.which != ("", "namespaces") or attributes.operation == "DELETE":
        return
    obj = attributes.obj
    if attributes.old is None:
        obj.setdefault("spec", {})["finalizers"] = ["kubernetes"]
        labels = obj["metadata"].setdefault("labels", {})
        labels["kubernetes.io/metadata.name"] = obj["metadata"].get("name", "")
    elif attributes.request.subresource != "finalize":
        kept = attributes.old.get("spec", {}).get("finalizers")
        spec = obj.setdefault("spec", {})
        if kept:
            spec["finalizers"] = kept
        else:
            spec.pop("finalizers", None)
