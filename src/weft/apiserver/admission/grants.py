"""Roles and bindings: nobody gives away what he has not."""

from weft.api.rbac import GROUP
from weft.apiserver.api import Attributes
from weft.apiserver.authorization import Authorizer


def give_only_what_one_has(attributes: Attributes) -> None:
    """Raises ApiError 403."""
    if attributes.request.group == GROUP and attributes.operation != "DELETE":
        Authorizer(attributes.api).check_grant(attributes.request, attributes.obj)
