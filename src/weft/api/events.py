"""Events in their two versions: core v1, in which they are kept, and events.k8s.io/v1, which shows the same objects.

In: an Event of one version. Out: a new one of the other. Source: kubernetes `pkg/apis/events/v1/conversion.go`.
"""

from typing import Any

Object = dict[str, Any]

GROUP = "events.k8s.io"
VERSION = f"{GROUP}/v1"
_NAMES = (
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
)
_TO_EVENTS = dict(_NAMES)
_TO_CORE = {new: old for old, new in _NAMES}


def to_events(event: Object) -> Object:
    """As events.k8s.io/v1 has it; parts that do not change are shared."""
    return {_TO_EVENTS.get(key, key): value for key, value in event.items()} | {"apiVersion": VERSION}


def to_core(event: Object) -> Object:
    """As core v1 has it."""
    return {_TO_CORE.get(key, key): value for key, value in event.items()} | {"apiVersion": "v1"}
