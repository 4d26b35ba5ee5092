"""`user[:group]` as Docker takes it -> numbers, by the image's own /etc/passwd and /etc/group. Pure."""

from dataclasses import dataclass

from weft.core.errors import InvalidError

_LARGEST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class User:
    """Whom a process runs as."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


def resolve(user: str, passwd: str, group: str) -> User:
    """Numbers need no entry; a name that is in no file raises InvalidError in runc's words."""
    name, _, group_name = user.partition(":")
    name = name or "0"
    entry = _passwd_entry(name, passwd)
    if entry is None:
        uid, gid, home, login = _number(name, "user", "passwd"), 0, "/", ""
    else:
        login, uid, gid, home = entry
    groups: tuple[int, ...] = ()
    if group_name:
        gid = _group_id(group_name, group)
    elif login:
        groups = tuple(number for _, number, members in _groups(group) if login in members)
    return User(uid, gid, groups, home or "/")


def group_ids(names: tuple[str, ...], group: str) -> tuple[int, ...]:
    """Supplementary groups by name or number."""
    return tuple(_group_id(name, group) for name in names)


def _number(text: str, what: str, file: str) -> int:
    if text.isascii() and text.isdecimal() and int(text) <= _LARGEST:
        return int(text)
    if text.isascii() and text.isdecimal():
        raise InvalidError(f"unable to find {what} {text}: uids and gids must be in range 0-{_LARGEST}")
    raise InvalidError(f"unable to find {what} {text}: no matching entries in {file} file")


def _passwd_entry(name: str, passwd: str) -> tuple[str, int, int, str] | None:
    by_number = None
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) < 6 or not fields[2].isdecimal() or not fields[3].isdecimal():
            continue
        entry = (fields[0], int(fields[2]), int(fields[3]), fields[5])
        if fields[0] == name:
            return entry
        if by_number is None and name.isdecimal() and entry[1] == int(name):
            by_number = entry
    return by_number


def _groups(group: str) -> list[tuple[str, int, list[str]]]:
    rows = [line.split(":") for line in group.splitlines()]
    return [(row[0], int(row[2]), row[3].split(",")) for row in rows if len(row) >= 4 and row[2].isdecimal()]


def _group_id(name: str, group: str) -> int:
    for known, number, _ in _groups(group):
        if known == name:
            return number
    return _number(name, "group", "group")
