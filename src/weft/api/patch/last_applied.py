"""From client-side to server-side apply: what `kubectl apply` wrote before, `kubectl apply --server-side` may change.

In: a live object with kubectl's annotation. Out: the fields that no conflict is made of, and the object with the
annotation brought up to date, so that either way of applying may follow.
Source: apimachinery `pkg/util/managedfields/internal/{lastappliedmanager,lastappliedupdater}.go`.
"""

from typing import Any

import orjson

from weft.api.decoding import prune_value
from weft.api.patch import fieldset
from weft.api.patch.fieldset import Path
from weft.api.schema import Schema

Object = dict[str, Any]

MANAGER = "kubectl"
ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


def fields(live: Object, schema: Schema) -> frozenset[Path]:
    """What was applied last, where it is still so."""
    annotations = live["metadata"].get("annotations") or {}
    try:
        applied = orjson.loads(annotations.get(ANNOTATION, ""))
    except orjson.JSONDecodeError:
        return frozenset()
    if not isinstance(applied, dict) or not isinstance(applied.get("metadata"), dict):
        return frozenset()
    prune_value(applied, schema)
    added: set[Path] = set()
    changed: set[Path] = set()
    removed: set[Path] = set()
    fieldset.difference(applied, live, schema, (), added, changed, removed)
    return frozenset(fieldset.of(applied, schema)) - changed - removed


def refresh(new: Object, applied: Object) -> None:
    """Says in the annotation, where there is one, what has been applied now."""
    annotations = new["metadata"].get("annotations") or {}
    if ANNOTATION in annotations:
        annotations[ANNOTATION] = orjson.dumps(applied, option=orjson.OPT_SORT_KEYS).decode() + "\n"
