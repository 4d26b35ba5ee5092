"""Backup and restore of what stands below a prefix in etcd.

In: an address; servers may be using it (all pages are read at one revision). Out: a backup's items; from a backup the
keys of an empty prefix. etcd gives them new revisions of its own, so a shift is kept beside them, and every revision
that a server tells is newer than any in the backup.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

from weft.core.errors import ConflictError
from weft.store import backup
from weft.store.base import Compare, KeyValue, Operation, Put
from weft.store.etcd import RANGE, SHIFT, TXN, read_shift, span
from weft.store.etcd_address import Address
from weft.store.etcd_link import Link
from weft.store.etcd_wire import Wire

_PAGE = 1000
# etcd takes 128 operations and 1.5 MB at a time.
_OPERATIONS = 100
_BYTES = 1_000_000
_UNFINISHED = b"unfinished"


async def save(address: Address, to: Path, settings: Mapping[str, str]) -> int:
    """Writes the backup; the number of objects."""
    link = Link(address)
    root = address.prefix.encode()
    try:
        wire = Wire(await read_shift(link, root))
        first, end = span(root + b"/")
        revision = wire.ranged(await link.call(RANGE, wire.range(first, end, limit=1))).revision

        async def items() -> AsyncIterator[KeyValue]:
            start = first
            while True:
                found = wire.ranged(await link.call(RANGE, wire.range(start, end, limit=_PAGE, revision=revision)))
                for item in found.items:
                    key = item.key[len(root) :].decode()
                    yield KeyValue(key, item.value, item.create_revision, item.mod_revision)
                if not found.more:
                    return
                start = found.items[-1].key + b"\0"

        return await backup.write(to, revision, settings, items())
    finally:
        await link.close()


async def restore(address: Address, source: Path) -> int:
    """Writes a backup's objects; raises InvalidError, ConflictError where something stands below the prefix."""
    content = backup.Backup.open(source)
    link, wire = Link(address), Wire()
    root = address.prefix.encode()
    shift = root + SHIFT
    try:
        first, end = root + b".", root + b"0"
        if wire.ranged(await link.call(RANGE, wire.range(first, end, limit=1))).items:
            raise ConflictError(f"cannot restore into {address.prefix}: it is not empty")
        begin = [Compare(SHIFT.decode(), 0)], [Put(SHIFT.decode(), _UNFINISHED)]
        if not wire.committed(await link.call(TXN, wire.txn(root, *begin), repeatable=False)).succeeded:
            raise ConflictError(f"cannot restore into {address.prefix}: another restore is under way")
        for operations in _groups(content.items()):
            await link.call(TXN, wire.txn(root, [], operations))
        await link.call("/etcdserverpb.KV/Put", wire.put(shift, str(content.revision).encode()))
    finally:
        await link.close()
    return content.objects


def _groups(items: Iterator[KeyValue]) -> Iterator[list[Operation]]:
    group: list[Operation] = []
    size = 0
    for item in items:
        if group and (len(group) == _OPERATIONS or size + len(item.value) > _BYTES):
            yield group
            group, size = [], 0
        group.append(Put(item.key, item.value))
        size += len(item.key) + len(item.value)
    if group:
        yield group
