"""What a controller has written and its cache does not show yet: until it does, decisions would rest on the past.

In: objects as writes returned them. Out: whether the cache has caught up. Revisions are the store's: an informer
that has seen one has seen all before it. After client-go's `controller.Expectations`, with revisions instead of counts.
"""

from dataclasses import dataclass, field

from weft.client.base import Object
from weft.client.informer import Informer, Key, version_of
from weft.core.clock import Clock

# A cache that does not show our write by then is looked at as it is.
PATIENCE = 10.0


@dataclass(slots=True)
class _Expected:
    version: int = 0
    gone: dict[str, Key] = field(default_factory=dict)  # uid to name
    until: float = 0.0


class Expectations:
    """One `informer`'s lag behind the writes for each key."""

    def __init__(self, informer: Informer, clock: Clock) -> None:
        self._informer, self._clock = informer, clock
        self._expected: dict[Key, _Expected] = {}

    def wrote(self, key: Key, obj: Object) -> None:
        """`obj` was created or changed."""
        version = version_of(obj)
        if version > self._informer.version:
            expected = self._expect(key)
            expected.version = max(expected.version, version)

    def deleted(self, key: Key, last: Object) -> None:
        """`last` is what the deletion returned: its last state if it is gone for good."""
        if last["metadata"].get("deletionTimestamp"):
            self.wrote(key, last)
            return
        metadata = last["metadata"]
        name = (metadata.get("namespace") or "", metadata["name"])
        if self._is_there(name, metadata["uid"]):
            self._expect(key).gone[metadata["uid"]] = name

    def forget(self, key: Key) -> None:
        self._expected.pop(key, None)

    def remaining(self, key: Key) -> float:
        """0 if the cache shows all that was done for `key`; else how many seconds to wait at most."""
        expected = self._expected.get(key)
        if expected is None:
            return 0.0
        behind = expected.version > self._informer.version
        behind = behind or any(self._is_there(name, uid) for uid, name in expected.gone.items())
        left = expected.until - self._clock.monotonic()
        if behind and left > 0:
            return left
        del self._expected[key]
        return 0.0

    def _expect(self, key: Key) -> _Expected:
        expected = self._expected.setdefault(key, _Expected())
        expected.until = self._clock.monotonic() + PATIENCE
        return expected

    def _is_there(self, name: Key, uid: str) -> bool:
        present = self._informer.get(*name)
        return present is not None and present["metadata"]["uid"] == uid
