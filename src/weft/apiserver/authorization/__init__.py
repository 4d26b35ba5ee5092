"""Authorization: roles, what follows from them, and questions about it."""

from weft.apiserver.authorization.authorizer import Authorizer

__all__ = ["Authorizer"]
