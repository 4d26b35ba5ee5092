"""Which store an instance uses: etcd where its settings name one, else a file of its own."""

from pathlib import Path

from weft.core.errors import UnsupportedError
from weft.core.settings import Settings
from weft.store.base import Store
from weft.store.etcd_address import Address


def open_store(settings: Settings) -> Store:
    """A store that is not started yet; raises InvalidError, UnsupportedError."""
    if not settings.store:
        from weft.store.sqlite import SqliteStore

        return SqliteStore(database(settings))
    try:
        from weft.store.etcd import EtcdStore
    except ImportError as error:
        raise UnsupportedError(f"cannot use etcd: the Python package grpcio is missing ({error})") from None
    return EtcdStore(Address.parse(settings.store))


def database(settings: Settings) -> Path:
    """The file of the embedded store."""
    return settings.paths.lib / "store.db"


def check_address(text: str) -> None:
    """Raises InvalidError where `text` names no store."""
    if text:
        Address.parse(text)


def is_shared(settings: Settings) -> bool:
    """Whether other servers may use the same store at the same time."""
    return bool(settings.store)
