"""PUT an object, or its status or another part of it that is written on its own."""

from weft.apiserver import codec, strategy
from weft.apiserver.api import Api, Object
from weft.apiserver.request import Request
from weft.apiserver.writing import check_fields, mutate


async def update(api: Api, request: Request, body: Object) -> Object:
    """The object as stored; `body` is the caller's own and is used up."""
    strategy.check_body(request, body)
    check_fields(request, body)
    return await mutate(api, request, lambda old: codec.copied(body))
