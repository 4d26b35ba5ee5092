"""The API versions that we speak, and what we are called. Docker's clients negotiate by `Api-Version` of /_ping."""

from weft import __version__ as WEFT_VERSION
from weft.core.errors import InvalidError

API_VERSION, MIN_API_VERSION = "1.47", "1.24"


def parse(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    if not (major.isdecimal() and minor.isdecimal()):
        raise InvalidError(f"invalid API version {text!r}")
    return int(major), int(minor)


def check(text: str) -> None:
    """Raises InvalidError in dockerd's words."""
    if parse(text) > parse(API_VERSION):
        raise InvalidError(f"client version {text} is too new. Maximum supported API version is {API_VERSION}")
    if parse(text) < parse(MIN_API_VERSION):
        raise InvalidError(
            f"client version {text} is too old. Minimum supported API version is {MIN_API_VERSION}, "
            "please upgrade your client to a newer version"
        )


__all__ = ["API_VERSION", "MIN_API_VERSION", "WEFT_VERSION", "check", "parse"]
