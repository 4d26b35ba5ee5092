"""JSON merge patch (RFC 7386).

In: an object and a patch. Out: the changed copy: null removes a field, objects merge, everything else replaces.
"""

from typing import Any

from weft.api.status import bad_request
from weft.api.values import clone


def merge_patch(doc: Any, patch: Any) -> Any:
    """Raises ApiError BadRequest where the patch is no object: an object of the API cannot become anything else."""
    if not isinstance(patch, dict):
        raise bad_request("cannot decode the merge patch: it must be an object")
    return merge_value(doc, patch)


def merge_value(target: Any, patch: Any) -> Any:
    """MergePatch of RFC 7386, section 2, for any two values."""
    if not isinstance(patch, dict):
        return clone(patch)
    merged = {key: clone(value) for key, value in target.items()} if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_value(merged.get(key), value)
    return merged
