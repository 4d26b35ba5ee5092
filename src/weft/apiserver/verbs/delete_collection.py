"""DELETE a collection: each selected object on its own."""

from dataclasses import replace

from weft.api.status import ApiError
from weft.apiserver.api import Api, Object
from weft.apiserver.request import Request
from weft.apiserver.selection import Selection
from weft.apiserver.verbs.delete import DeleteOptions, delete


async def delete_collection(api: Api, request: Request, options: DeleteOptions, selection: Selection) -> list[Object]:
    """The objects' last states; one that someone else deleted meanwhile is left out."""
    await api.prepare(request)
    chosen = [obj for obj in api.objects.each(request.rtype, request.namespace) if selection.matches(obj)]
    deleted = []
    for obj in chosen:
        metadata = obj["metadata"]
        single = replace(request, namespace=metadata.get("namespace"), name=metadata["name"])
        try:
            last, _ = await delete(api, single, replace(options, uid=metadata["uid"]))
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise
        else:
            deleted.append(last)
    return deleted
