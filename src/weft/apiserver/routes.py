"""From an HTTP request to a verb and back: the one place where URLs, methods, bodies and errors of HTTP are known.

In: requests of any client. Out: responses; every failure is a Status object. Who is next: `verbs` for resources,
`documents` for discovery, OpenAPI, health and version, `streams` for exec, attach and logs.
"""

import logging
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from weft.api.kinds import SCALE, ResourceType
from weft.api.rbac import Attributes
from weft.api.status import ApiError, bad_request
from weft.api.table import to_table
from weft.apiserver import codec, negotiation, watching
from weft.apiserver.api import Api, Object
from weft.apiserver.auth import OPEN_PATHS, authenticate, forbidden
from weft.apiserver.authorization import Authorizer, reviews
from weft.apiserver.authorization.impersonation import impersonated
from weft.apiserver.documents import Documents
from weft.apiserver.negotiation import Accepted
from weft.apiserver.request import Request, flag, number
from weft.apiserver.responses import as_partial, failure, respond, success
from weft.apiserver.selection import Selection
from weft.apiserver.streams import Streams
from weft.apiserver.url import Target, parse
from weft.apiserver.verbs import patch as patching
from weft.apiserver.verbs.create import create
from weft.apiserver.verbs.delete import DeleteOptions, delete
from weft.apiserver.verbs.delete_collection import delete_collection
from weft.apiserver.verbs.eviction import evict
from weft.apiserver.verbs.finalize import finalize
from weft.apiserver.verbs.get import get
from weft.apiserver.verbs.list import ListOptions, list_
from weft.apiserver.verbs.pod_actions import bind
from weft.apiserver.verbs.scale import get_scale, patch_scale, update_scale
from weft.apiserver.verbs.update import update
from weft.core.errors import InvalidError, TimedOutError, UnavailableError, WeftError

_log = logging.getLogger(__name__)

_TYPE = ("kind", "apiVersion")
_POD_STREAMS = frozenset({"log", "exec", "attach", "portforward"})


class Routes:
    """`handle` is aiohttp's handler for every path."""

    def __init__(self, api: Api, documents: Documents, streams: Streams) -> None:
        self._api = api
        self._documents = documents
        self._streams = streams
        self._authorizer = Authorizer(api)

    async def handle(self, http: web.Request) -> web.StreamResponse:
        try:
            return await self._handle(http)
        except ApiError as error:
            return failure(error)
        except web.HTTPRequestEntityTooLarge:
            text = f"Request entity too large: limit is {codec.MAX_BODY}"
            return failure(ApiError("RequestEntityTooLarge", text))
        except InvalidError as error:
            return failure(bad_request(str(error)))
        except TimedOutError as error:
            text = f"Timeout: request did not complete within the allotted timeout: {error}"
            return failure(ApiError("Timeout", text))
        except UnavailableError as error:
            return failure(ApiError("ServiceUnavailable", str(error)))
        except WeftError as error:
            return failure(ApiError("InternalError", str(error)))
        except ConnectionResetError:
            return web.Response()  # the client has gone: nobody reads this
        except Exception as error:
            _log.exception("a request failed", extra={"method": http.method, "path": http.path})
            return failure(ApiError("InternalError", f"Internal error occurred: {error!r}"))

    async def _handle(self, http: web.Request) -> web.StreamResponse:
        path = http.path
        if path in OPEN_PATHS or path.startswith(("/livez/", "/readyz/", "/healthz/")):
            return await self._documents.answer(http)
        user = impersonated(self._authorizer, authenticate(http.transport), http.headers)
        target = parse(http.rel_url.raw_path)
        if target is None:
            if not self._authorizer.may(user, Attributes(http.method.lower(), path=path)):
                text = f'forbidden: User "{user.name}" cannot {http.method.lower()} path "{path}"'
                raise ApiError("Forbidden", text)
            return await self._documents.answer(http)
        verb = _verb(http, target)
        group, resource, namespace = target.gvr.group, target.gvr.resource, target.namespace or ""
        if (group, resource) == ("", "namespaces") and target.name:
            namespace = target.name  # a namespace is within itself, for who has a role there
        wanted = Attributes(verb, group, resource, target.subresource, namespace, target.name)
        if not self._authorizer.may(user, wanted):
            full = f"{resource}/{target.subresource}" if target.subresource else resource
            raise forbidden(user, verb, group, full, namespace, target.name)
        rtype = self._api.kinds.by_gvr(target.gvr)
        if rtype is None or not _fits(rtype, target):
            raise no_such_path()
        request = Request(rtype, target.namespace, target.name, target.subresource, user)
        request.read_options(http.query)
        if rtype.deprecation_warning:
            request.warnings.append(rtype.deprecation_warning)
        if not request.field_manager:
            request.field_manager = _agent(http)
        if not http.query.get("resourceVersion"):  # then the newest is meant, whichever server wrote it
            await self._api.cache.fresh()
        if verb == "get":
            await self._api.prepare(request)
        if target.subresource:
            return await self._subresource(http, request, verb)
        return await self._resource(http, request, verb)

    async def _resource(self, http: web.Request, request: Request, verb: str) -> web.StreamResponse:
        whole = request.rtype.namespaced and request.namespace is None
        if verb not in request.rtype.verbs or (whole and verb in ("create", "deletecollection")):
            raise not_allowed(http.method)
        accepted = _accepted(http)
        if verb == "get":
            return await self._one(http, request, get(self._api, request), accepted)
        if verb == "list":
            return await self._list(http, request, accepted)
        if verb == "watch":
            return await watching.serve(self._api, http, request, accepted)
        if verb == "create" and request.resource in reviews.KINDS:
            review = reviews.answer(self._authorizer, request, await self._body(http))
            return await respond(http, review, 201)
        if verb == "create":
            obj = await create(self._api, request, await self._body(http))
            return await self._one(http, request, obj, accepted, 201)
        if verb == "update":
            obj = await update(self._api, request, await self._body(http))
            return await self._one(http, request, obj, accepted)
        if verb == "patch":
            return await self._patch(http, request, accepted)
        options = DeleteOptions.read(await self._optional_body(http), http.query)
        if verb == "delete":
            return await self._delete(http, request, options, accepted)
        deleted = await delete_collection(self._api, request, options, _selection(http.query, request))
        return await respond(http, _as_list(request.rtype, deleted, self._api.cache.revision), 200, accepted)

    async def _subresource(self, http: web.Request, request: Request, verb: str) -> web.StreamResponse:
        which = request.subresource
        if which == "status":
            if verb not in ("get", "update", "patch"):
                raise not_allowed(http.method)
            return await self._resource(http, request, verb)
        if which == "scale" and verb in ("get", "update", "patch"):
            return await self._shown_scale(http, request, await self._scale(http, request, verb))
        if request.group == "" and request.resource == "pods":
            if which in _POD_STREAMS and verb in ("get", "create"):
                return await self._streams.serve(http, request)
            if which == "binding" and verb == "create":
                return await respond(http, await bind(self._api, request, await self._body(http)), 201)
            if which == "eviction" and verb == "create":
                return await respond(http, await evict(self._api, request, await self._body(http)), 201)
        if which == "finalize" and request.resource == "namespaces" and verb == "update":
            obj = await finalize(self._api, request, await self._body(http))
            return await self._one(http, request, obj, _accepted(http))
        raise not_allowed(http.method)

    async def _shown_scale(self, http: web.Request, request: Request, scale: Object) -> web.Response:
        accepted = _accepted(http)
        if accepted.convert == "Table":
            version = scale["metadata"].get("resourceVersion", "")
            now = self._api.clock.now()
            scale = to_table(SCALE, [scale], version, include_object(http.query), now)
        return await respond(http, scale, 200, accepted, request.warnings)

    async def _scale(self, http: web.Request, request: Request, verb: str) -> Object:
        if verb == "get":
            return get_scale(self._api, request)
        if verb == "update":
            return await update_scale(self._api, request, await self._body(http))
        media = http.content_type
        return await patch_scale(self._api, request, patching.decode(await http.read(), media), media)

    async def _patch(self, http: web.Request, request: Request, accepted: Accepted) -> web.Response:
        media = http.content_type
        body = patching.decode(await http.read(), media)
        existed = self._api.objects.entry(request.rtype, request.namespace, request.name) is not None
        obj = await patching.patch(self._api, request, body, media)
        return await self._one(http, request, obj, accepted, 200 if existed else 201)

    async def _delete(
        self, http: web.Request, request: Request, options: DeleteOptions, accepted: Accepted
    ) -> web.Response:
        obj, gone = await delete(self._api, request, options)
        graceful = request.group == "" and request.resource in ("pods", "namespaces")
        if gone and not graceful:
            status = success(request.resource, request.group, request.name, obj["metadata"]["uid"])
            return await respond(http, status, warnings=request.warnings)
        return await self._one(http, request, obj, accepted)

    async def _list(self, http: web.Request, request: Request, accepted: Accepted) -> web.Response:
        query = http.query
        options = ListOptions(
            _selection(query, request),
            number(query, "limit") or 0,
            query.get("continue", ""),
            query.get("resourceVersion", ""),
            query.get("resourceVersionMatch", ""),
        )
        page = await list_(self._api, request, options)
        version = str(page.revision)
        if accepted.convert == "Table":
            include = include_object(query)
            table = to_table(
                request.rtype,
                page.items,
                version,
                include,
                self._api.clock.now(),
                continue_token=page.continue_token,
                remaining=page.remaining,
            )
            return await respond(http, table, 200, accepted)
        result = _as_list(request.rtype, page.items, page.revision)
        if page.continue_token:
            result["metadata"]["continue"] = page.continue_token
        if page.remaining:
            result["metadata"]["remainingItemCount"] = page.remaining
        if accepted.convert.startswith("PartialObjectMetadata"):
            result["kind"] = "PartialObjectMetadataList"
            result["apiVersion"] = f"meta.k8s.io/{accepted.version}"
            result["items"] = [as_partial(obj, accepted.version) for obj in page.items]
        return await respond(http, result, 200, accepted)

    async def _one(
        self, http: web.Request, request: Request, obj: Object, accepted: Accepted, status: int = 200
    ) -> web.Response:
        value = obj
        if accepted.convert == "Table":
            version = obj["metadata"].get("resourceVersion", "")
            value = to_table(request.rtype, [obj], version, include_object(http.query), self._api.clock.now())
        elif accepted.convert == "PartialObjectMetadata":
            value = as_partial(obj, accepted.version)
        return await respond(http, value, status, accepted, request.warnings)

    async def _body(self, http: web.Request) -> Object:
        return codec.decode(await http.read(), http.headers.get("Content-Type", ""))

    async def _optional_body(self, http: web.Request) -> Object | None:
        body = await http.read()
        return codec.decode(body, http.headers.get("Content-Type", "")) if body.strip() else None


def include_object(query: Mapping[str, str]) -> Any:
    include = query.get("includeObject") or "Metadata"
    if include not in ("None", "Metadata", "Object"):
        raise bad_request(f'unrecognized includeObject value: "{include}"')
    return include


def no_such_path() -> ApiError:
    return ApiError("NotFound", "the server could not find the requested resource")


def not_allowed(method: str) -> ApiError:
    return ApiError("MethodNotAllowed", "the server does not allow this method on the requested resource")


def _verb(http: web.Request, target: Target) -> str:
    method = http.method
    if method in ("GET", "HEAD"):
        if target.name and not target.subresource and flag(http.query, "watch"):
            return "watch"
        if target.name:
            return "get"
        return "watch" if flag(http.query, "watch") else "list"
    if method == "POST":
        if target.name and not target.subresource:
            raise not_allowed(method)
        return "create"
    if method == "DELETE":
        return "delete" if target.name else "deletecollection"
    verb = {"PUT": "update", "PATCH": "patch"}.get(method)
    if verb is None or not target.name:
        raise not_allowed(method)
    return verb


def _fits(rtype: ResourceType, target: Target) -> bool:
    """Whether the URL has the form of the resource's: in a namespace or not, with a subresource that it has."""
    if target.subresource and target.subresource not in rtype.subresources:
        return False
    if not rtype.namespaced:
        return target.namespace is None
    return target.namespace is not None or not target.name


def _accepted(http: web.Request) -> Accepted:
    return negotiation.accept(http.headers.get("Accept", ""))


def _agent(http: web.Request) -> str:
    """The manager of a write that names none: the first word of User-Agent, as kube-apiserver has it."""
    return http.headers.get("User-Agent", "").partition("/")[0][:128] or "unknown"


def _selection(query: Mapping[str, str], request: Request) -> Selection:
    return Selection.parse(request.rtype, query.get("labelSelector", ""), query.get("fieldSelector", ""))


def _as_list(rtype: ResourceType, items: list[Object], at: int) -> Object:
    """Items of built-in kinds say neither kind nor version, as Kubernetes has it; the list does."""
    if not rtype.is_custom:
        items = [{key: value for key, value in item.items() if key not in _TYPE} for item in items]
    return {
        "kind": rtype.list_kind,
        "apiVersion": rtype.gvr.api_version,
        "metadata": {"resourceVersion": str(at)},
        "items": items,
    }
