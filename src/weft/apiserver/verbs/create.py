"""POST to a collection."""

from weft.api.status import bad_request
from weft.apiserver import strategy
from weft.apiserver.api import Api, Object
from weft.apiserver.request import Request
from weft.apiserver.writing import check_fields, store_new


async def create(api: Api, request: Request, body: Object) -> Object:
    """The object as stored; `body` is the caller's own and is used up."""
    strategy.check_body(request, body)
    check_fields(request, body)
    if body["metadata"].get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    return await store_new(api, request, body)
