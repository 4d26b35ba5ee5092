"""The syntax of names, labels and keys: for each, what is wrong with a text, in Kubernetes's own words.

In: a text. Out: the message, or None where the text is right. Source: apimachinery `pkg/util/validation`.
Who is next: `weft.api.validation`, `weft.api.selectors`.
"""

import re

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = rf"({_QUALIFIED})?"
_CONFIG_KEY = r"[-._a-zA-Z0-9]+"
_ENV_NAME = r"[ -<>-~]+"

_RE_LABEL = re.compile(_LABEL)
_RE_SUBDOMAIN = re.compile(_SUBDOMAIN)
_RE_LABEL_1035 = re.compile(_LABEL_1035)
_RE_QUALIFIED = re.compile(_QUALIFIED)
_RE_LABEL_VALUE = re.compile(_LABEL_VALUE)
_RE_CONFIG_KEY = re.compile(_CONFIG_KEY)
_RE_ENV_NAME = re.compile(_ENV_NAME)
_RE_PORT_NAME = re.compile(r"[-a-z0-9]+")


def _regex(message: str, pattern: str, *examples: str) -> str:
    shown = " or ".join(f"'{example}'" for example in examples)
    how = f"e.g. {shown}, " if shown else ""
    return f"{message} ({how}regex used for validation is '{pattern}')"


def _at_most(length: int) -> str:
    return f"must be no more than {length} characters"


SUBDOMAIN = _regex(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character",
    _SUBDOMAIN,
    "example.com",
)
LABEL = _regex(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character",
    _LABEL,
    "my-name",
    "123-abc",
)
LABEL_1035 = _regex(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
    "start with an alphabetic character, and end with an alphanumeric character",
    _LABEL_1035,
    "my-name",
    "abc-123",
)
LABEL_VALUE = _regex(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character",
    "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
    "MyValue",
    "my_value",
    "12345",
)
QUALIFIED_NAME = _regex(
    "name part must consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character",
    _QUALIFIED,
    "MyName",
    "my.name",
    "123-abc",
)
CONFIG_KEY = _regex(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    _CONFIG_KEY,
    "key.name",
    "KEY_NAME",
    "key-name",
)


def subdomain(text: str) -> str | None:
    """RFC 1123 subdomain: the names of most objects."""
    if len(text) > 253:
        return _at_most(253)
    return None if _RE_SUBDOMAIN.fullmatch(text) else SUBDOMAIN


def label(text: str) -> str | None:
    """RFC 1123 label: names of namespaces, containers, volumes."""
    if len(text) > 63:
        return _at_most(63)
    return None if _RE_LABEL.fullmatch(text) else LABEL


def label_1035(text: str) -> str | None:
    """RFC 1035 label: names of services."""
    if len(text) > 63:
        return _at_most(63)
    return None if _RE_LABEL_1035.fullmatch(text) else LABEL_1035


def label_value(text: str) -> str | None:
    if len(text) > 63:
        return _at_most(63)
    return None if _RE_LABEL_VALUE.fullmatch(text) else LABEL_VALUE


def qualified_name(text: str) -> str | None:
    """The key of a label or annotation: `name` or `prefix/name`."""
    prefix, slash, name = text.rpartition("/")
    if slash and "/" in prefix:
        return (
            "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            f"alphanumeric character (e.g. 'MyName' or 'my.name' or '123-abc', regex used for validation is "
            f"'{_QUALIFIED}') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        )
    if slash and not prefix:
        return "prefix part must be non-empty"
    if slash and (wrong := subdomain(prefix)):
        return f"prefix part {wrong}"
    if not name:
        return "name part must be non-empty"
    if len(name) > 63:
        return "name part " + _at_most(63)
    return None if _RE_QUALIFIED.fullmatch(name) else QUALIFIED_NAME


def config_key(text: str) -> str | None:
    """The key of a ConfigMap or Secret."""
    if len(text) > 253:
        return _at_most(253)
    if text in (".", "..") or text.startswith(".."):
        return "must not be '.'" if text == "." else "must not start with '..'"
    return None if _RE_CONFIG_KEY.fullmatch(text) else CONFIG_KEY


def env_name(text: str) -> str | None:
    """The name of an environment variable: printable ASCII without `=`."""
    if _RE_ENV_NAME.fullmatch(text):
        return None
    return "a valid environment variable name must consist only of printable ASCII characters other than '='"


def port_name(text: str) -> str | None:
    """An IANA service name: the name of a container's port."""
    if len(text) > 15:
        return "must be no more than 15 characters"
    if not _RE_PORT_NAME.fullmatch(text):
        return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
    if not any(character.isalpha() for character in text):
        return "must contain at least one letter (a-z)"
    if "--" in text:
        return "must not contain consecutive hyphens"
    if text.startswith("-") or text.endswith("-"):
        return "must not begin or end with a hyphen"
    return None


def path_segment(text: str) -> str | None:
    """What may stand in a URL's path as a name, where a kind asks for no more."""
    if text in (".", ".."):
        return f"may not be '{text}'"
    for wrong in ("/", "%"):
        if wrong in text:
            return f"may not contain '{wrong}'"
    return None
