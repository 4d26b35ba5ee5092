"""All containers of the instance, found by id, unique prefix of an id, or name."""

import secrets

from weft.container.records import Record
from weft.core.errors import ConflictError, InvalidError, NotFoundError

_NAME = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
_FIRST = ("amber", "bright", "calm", "deft", "eager", "fair", "gentle", "hardy", "keen", "lively", "mellow", "nimble")
_SECOND = ("bobbin", "distaff", "heddle", "jacquard", "loom", "pattern", "reed", "satin", "selvage", "shuttle", "twill")


class Index:
    """Names are unique; a lookup raises NotFoundError in Docker's words."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._names: dict[str, str] = {}

    def add(self, record: Record) -> None:
        self._records[record.id] = record
        self._names[record.container.name] = record.id

    def discard(self, record: Record) -> None:
        self._records.pop(record.id, None)
        if self._names.get(record.container.name) == record.id:
            del self._names[record.container.name]

    def has(self, record: Record) -> bool:
        return record.id in self._records

    def all(self) -> list[Record]:
        return list(self._records.values())

    def find(self, key: str) -> Record:
        key = key.removeprefix("/")
        record = self._records.get(key) or self._records.get(self._names.get(key, ""))
        if record is not None:
            return record
        matching = [record for id, record in self._records.items() if key and id.startswith(key)]
        if len(matching) > 1:
            raise InvalidError(f"multiple IDs found with provided prefix: {key}")
        if not matching:
            raise NotFoundError(f"No such container: {key}")
        return matching[0]

    def check_name(self, name: str) -> None:
        """Raises InvalidError for a name that cannot be, ConflictError for one that is taken."""
        allowed = name.isascii() and name[:1].isalnum() and all(c.isalnum() or c in "_.-" for c in name)
        if not allowed or len(name) < 2:
            raise InvalidError(f"Invalid container name ({name}), only {_NAME} are allowed")
        if name in self._names:
            raise ConflictError(
                f'Conflict. The container name "/{name}" is already in use by container "{self._names[name]}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )

    def free_name(self) -> str:
        """A name for a container that was given none."""
        name = f"{secrets.choice(_FIRST)}_{secrets.choice(_SECOND)}"
        while name in self._names:
            name = f"{secrets.choice(_FIRST)}_{secrets.choice(_SECOND)}_{secrets.token_hex(2)}"
        return name

    def rename(self, record: Record, name: str) -> None:
        self.check_name(name)
        self._names.pop(record.container.name, None)
        record.change(name=name)
        self._names[name] = record.id
