"""Names from elsewhere as RFC 1123 labels, which all nodes and links of a lab have, and each only once.

In: any text, such as `São Paulo`. Out: a label, such as `sao-paulo`; `sao-paulo-2` where that is taken.
"""

import re
import unicodedata

from weft.network.topology.fields import NAME_LENGTH

# What has no decomposition into a letter and marks.
_LETTERS = str.maketrans({"ß": "ss", "æ": "ae", "ø": "o", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})


class Labels:
    """Gives out labels, none of them twice."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def unique(self, text: str, otherwise: str = "node") -> str:
        """`otherwise` is what a text without a letter or digit becomes."""
        label = as_label(text) or otherwise
        if label in self._taken:
            number = self._next.get(label, 2)
            while (numbered := _cut(label, f"-{number}")) in self._taken:
                number += 1
            self._next[label] = number + 1
            label = numbered
        self._taken.add(label)
        return label


def as_label(text: str) -> str:
    """The nearest label, or nothing."""
    plain = unicodedata.normalize("NFKD", text.lower().translate(_LETTERS)).encode("ascii", "ignore").decode()
    return _cut(re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-"), "")


def _cut(label: str, end: str) -> str:
    return label[: NAME_LENGTH - len(end)].rstrip("-") + end
