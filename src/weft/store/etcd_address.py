"""How users name an etcd cluster: `etcd://10.0.0.1:2379,10.0.0.2:2379?ca=/etc/etcd/ca.crt`.

In: the text. Out: an `Address`. Who is next: `etcd_link`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from weft.core.errors import InvalidError


@dataclass(frozen=True, slots=True)
class Address:
    """Where a cluster is and how to speak with it; parsed of
    `etcd://HOST:PORT[,HOST:PORT...][?ca=FILE&cert=FILE&key=FILE&user=NAME&password-file=FILE&prefix=/weft]`.

    `ca` turns TLS on; `cert` and `key` are the client's own. Several clouds share a cluster by their prefixes.
    """

    members: tuple[str, ...]
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    user: str = ""
    password_file: Path | None = None
    prefix: str = "/weft"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises InvalidError."""
        parts = urlsplit(text)
        if parts.scheme != "etcd" or parts.path or not parts.netloc:
            raise InvalidError(f"cannot use the store {text!r}: it should read etcd://HOST:PORT[,HOST:PORT...]")
        members = tuple(parts.netloc.split(","))
        for member in members:
            host, _, port = member.rpartition(":")
            if not host or "@" in host or not port.isdecimal() or not 0 < int(port) < 65536:
                raise InvalidError(f"cannot use the store {text!r}: {member!r} is not HOST:PORT")
        try:
            query = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
        except ValueError:
            raise InvalidError(f"cannot use the store {text!r}: {parts.query!r} is not NAME=VALUE&...") from None
        known = {"ca", "cert", "key", "user", "password-file", "prefix"}
        if unknown := set(query) - known:
            raise InvalidError(f"cannot use the store {text!r}: unknown options: {', '.join(sorted(unknown))}")
        files = {name: Path(query[name]) if name in query else None for name in ("ca", "cert", "key", "password-file")}
        if (files["cert"] is None) != (files["key"] is None) or (files["cert"] and not files["ca"]):
            raise InvalidError(f"cannot use the store {text!r}: cert and key go together, and with ca")
        if ("user" in query) != ("password-file" in query):
            raise InvalidError(f"cannot use the store {text!r}: user and password-file go together")
        prefix = query.get("prefix", "/weft").rstrip("/")
        if not prefix.startswith("/"):
            raise InvalidError(f"cannot use the store {text!r}: the prefix must begin with / and name something")
        return cls(
            members, files["ca"], files["cert"], files["key"], query.get("user", ""), files["password-file"], prefix
        )
