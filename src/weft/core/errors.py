"""The errors of all engines and stores, by meaning and by whose fault.

A server turns them into its own protocol's error in one place (`apiserver`, `dockerapi` and `registry` each have
one such table). The text reads "cannot X: cause" and names what and where.
"""


class WeftError(Exception):
    """The base of all errors that Weft raises on purpose; `str(error)` is fit for a user's eyes."""


class InvalidError(WeftError):
    """The request is malformed or contradicts itself: the caller's fault; nothing was changed."""


class NotFoundError(WeftError):
    """What the request names does not exist."""


class ConflictError(WeftError):
    """The request does not fit the present state (a name or port taken, a container running, ...)."""


class ForbiddenError(WeftError):
    """The caller may not do this."""


class UnsupportedError(WeftError):
    """This machine, kernel or build of Weft cannot do it; the text says what is missing."""


class UnavailableError(WeftError):
    """A peer or a part of Weft could not be reached; the same request may succeed later."""


class TimedOutError(UnavailableError):
    """No answer came in time: what was asked for may or may not have been done."""
