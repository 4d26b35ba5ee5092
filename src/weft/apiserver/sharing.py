"""Equal parts of objects, kept once: what makes ten thousand pods of one template fit into memory.

In: an object that the cache is about to keep. Out: the same object, with parts that others have too put in their place.
Who is next: `cache`. Objects in the cache are frozen by convention, so nobody sees the difference.
"""

from typing import Any

import orjson

# Parts remembered at once; enough for the templates of a large cluster.
_PARTS = 4096


class Sharing:
    """`share(obj)`, for every object that comes into the cache."""

    def __init__(self) -> None:
        self._parts: dict[bytes, Any] = {}

    def share(self, obj: dict[str, Any]) -> None:
        """In place: who manages which fields, and what a pod has of its template."""
        metadata = obj.get("metadata")
        if isinstance(metadata, dict):
            for entry in metadata.get("managedFields") or ():
                if "fieldsV1" in entry:
                    entry["fieldsV1"] = self._one(entry["fieldsV1"])
        spec = obj.get("spec")
        if obj.get("kind") == "Pod" and isinstance(spec, dict):
            for key, value in spec.items():
                if isinstance(value, (dict, list)):
                    spec[key] = self._one(value)

    def _one(self, value: Any) -> Any:
        key = orjson.dumps(value)
        found = self._parts.get(key)
        if found is None:
            if len(self._parts) >= _PARTS:
                self._parts.clear()  # what is shared stays so; what comes is shared anew
            found = self._parts[key] = value
        return found
