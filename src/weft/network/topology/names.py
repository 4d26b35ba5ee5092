"""Names of a lab's things in the kernel, short enough for it and the same each time."""

from weft.core.ids import short_hash

_INTERFACE_LENGTH = 15  # IFNAMSIZ less the final zero
_RESERVED = frozenset({"lo", "all", "default"})


def interface_name(link: str) -> str:
    """A link's interface at both of its nodes: its own name where the kernel takes it, else a part and a hash."""
    if len(link) <= _INTERFACE_LENGTH and link not in _RESERVED:
        return link
    return f"{link[:7]}-{short_hash(link, 7)}"


def namespace_prefix(instance: str, namespace: str, lab: str) -> str:
    """What the names of a lab's network namespaces begin with; `-NODE` follows. `weft-ring` for the lab ring.

    No prefix of one lab begins that of another: dashes become underscores, which names of labs do not have.
    """
    lab = lab.replace("-", "_")
    return f"{instance}-{lab}" if namespace == "default" else f"{instance}-{namespace.replace('-', '_')}.{lab}"
