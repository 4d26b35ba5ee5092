"""Watches over HTTP: one JSON object a line, until the client goes, its time is up, or the server stops."""

import asyncio
import logging
import random
from contextlib import aclosing

from aiohttp import web

from weft.api.status import ApiError, bad_request
from weft.api.table import to_table
from weft.apiserver import codec
from weft.apiserver.api import Api, Object
from weft.apiserver.negotiation import Accepted
from weft.apiserver.request import Request, flag, number
from weft.apiserver.responses import as_partial
from weft.apiserver.selection import Selection
from weft.apiserver.verbs.watch import Sent, WatchOptions, watch

_log = logging.getLogger(__name__)

# Without timeoutSeconds a watch ends after 30 to 60 minutes, as kube-apiserver's do, so that they spread.
_MIN_SECONDS = 1800


async def serve(api: Api, http: web.Request, request: Request, accepted: Accepted) -> web.StreamResponse:
    query = http.query
    if accepted.yaml:
        raise ApiError("NotAcceptable", "only the following media types are accepted: application/json;stream=watch")
    fields = query.get("fieldSelector", "")
    if request.name:
        fields = ",".join(filter(None, (fields, f"metadata.name={request.name}")))
    selection = Selection.parse(request.rtype, query.get("labelSelector", ""), fields)
    initial = flag(query, "sendInitialEvents") if "sendInitialEvents" in query else None
    if initial is not None and query.get("resourceVersionMatch") != "NotOlderThan":
        raise bad_request("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
    options = WatchOptions(selection, query.get("resourceVersion", ""), flag(query, "allowWatchBookmarks"), initial)
    seconds = number(query, "timeoutSeconds") or random.randint(_MIN_SECONDS, 2 * _MIN_SECONDS)
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"})
    response.enable_chunked_encoding()
    await response.prepare(http)
    encoder = _Encoder(api, request, accepted, include_object=query.get("includeObject") or "Metadata")
    try:
        async with asyncio.timeout(seconds), aclosing(watch(api, request, options)) as batches:
            async for batch in batches:
                await response.write(b"".join([encoder.line(sent) for sent in batch]))
    except TimeoutError:
        pass
    except ApiError as error:
        await response.write(_error_line(error))
    except (ConnectionResetError, asyncio.CancelledError):
        raise
    except Exception as error:
        _log.exception("a watch failed", extra={"path": http.path})
        await response.write(_error_line(ApiError("InternalError", f"Internal error occurred: {error!r}")))
    await response.write_eof()
    return response


def _error_line(error: ApiError) -> bytes:
    return codec.encode({"type": "ERROR", "object": error.to_json()}) + b"\n"


class _Encoder:
    """Events as lines, in the form that the client asked for; the columns of tables are sent once."""

    def __init__(self, api: Api, request: Request, accepted: Accepted, include_object: str) -> None:
        self._api = api
        self._request = request
        self._accepted = accepted
        self._include = include_object
        self._columns = True

    def line(self, sent: Sent) -> bytes:
        if not self._accepted.convert and sent.change is not None:
            return sent.change.line()
        return codec.encode({"type": sent.type, "object": self._convert(sent)}) + b"\n"

    def _convert(self, sent: Sent) -> Object:
        if sent.type == "BOOKMARK" or not self._accepted.convert:
            return sent.object
        if self._accepted.convert == "Table":
            table = to_table(
                self._request.rtype,
                [sent.object],
                sent.object["metadata"]["resourceVersion"],
                self._include,  # type: ignore[arg-type]  # checked when the request came
                self._api.clock.now(),
                with_columns=self._columns,
            )
            self._columns = False
            return table
        return as_partial(sent.object, self._accepted.version)
