"""PUT a namespace's finalize: the namespace controller takes its finalizer off when the content is gone."""

from weft.apiserver import codec, strategy
from weft.apiserver.api import Api, Object
from weft.apiserver.request import Request
from weft.apiserver.writing import mutate


async def finalize(api: Api, request: Request, body: Object) -> Object:
    strategy.check_body(request, body)

    def produce(old: Object) -> Object:
        new = codec.copied(old)
        new.setdefault("spec", {})["finalizers"] = (body.get("spec") or {}).get("finalizers") or []
        new["metadata"]["resourceVersion"] = body["metadata"].get("resourceVersion")
        return new

    return await mutate(api, request, produce)
