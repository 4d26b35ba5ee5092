"""GET one object."""

from weft.api.status import not_found
from weft.apiserver.api import Api, Object
from weft.apiserver.request import Request


def get(api: Api, request: Request) -> Object:
    """The present object, shared; raises ApiError 404."""
    obj = api.objects.get(request.rtype, request.namespace, request.name)
    if obj is None:
        raise not_found(request.resource, request.name, request.group)
    return obj
