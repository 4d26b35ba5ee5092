"""`ApiServer`: the parts put together, started and stopped.

In: settings, a store (started and stopped by this server), CRDs to be there, validators of other parts. Out: HTTPS on
`settings.api_address:api_port`, and `local`, the client for whatever runs in the same process.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from weft.api.gvr import CRDS
from weft.api.kinds import Kinds
from weft.apiserver import bootstrap, codec, pki
from weft.apiserver.admission import STEPS
from weft.apiserver.admission.hooks import AdmissionHooks
from weft.apiserver.api import Api, Validator
from weft.apiserver.cache import Cache
from weft.apiserver.conversion import Conversions
from weft.apiserver.crds import CustomResources
from weft.apiserver.documents import Documents
from weft.apiserver.expiry import EventExpiry
from weft.apiserver.local import LocalClient
from weft.apiserver.objects import Objects
from weft.apiserver.routes import Routes
from weft.apiserver.streams import Streams
from weft.core.clock import Clock, SystemClock
from weft.core.errors import UnavailableError
from weft.core.settings import Settings
from weft.store.base import Store

_SHUTDOWN_SECONDS = 2.0
_BACKLOG = 512


class ApiServer:
    """`ApiServer(settings, store, extra_validators={("net.weft.dev", "Topology"): check}, crds=[...])`."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        extra_validators: Mapping[tuple[str, str], Validator] | None = None,
        crds: Sequence[dict[str, Any]] = (),
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._crds = crds
        cache = Cache(store)
        self.api = Api(
            settings,
            Kinds.builtin(),
            cache,
            Objects(store, cache),
            clock or SystemClock(),
            STEPS,
            extra_validators or {},
        )
        self._hooks = AdmissionHooks(self.api)
        self.api.hooks = self._hooks
        self.api.converter = Conversions(self._hooks.calls)
        self.local = LocalClient(self.api)

    async def start(self) -> None:
        """Raises UnavailableError where the address cannot be had, ConflictError where the store is in use."""
        async with contextlib.AsyncExitStack() as parts:
            await self._start(parts)
            self._parts = parts.pop_all()

    async def stop(self) -> None:
        """Ends watches, finishes what is under way, closes the store."""
        await self._parts.aclose()

    async def point_here(self) -> None:
        """Makes the service `kubernetes` lead to this server, where there are several."""
        await bootstrap.point_here(self.local, self.api)

    async def _start(self, parts: contextlib.AsyncExitStack) -> None:
        """Each part that was started is stopped, in reverse, at `stop` or where a later one fails."""
        api = self.api
        certificates = pki.ensure(self._settings)
        await self._store.start()
        parts.push_async_callback(self._store.stop)
        await api.cache.start()
        parts.push_async_callback(api.cache.stop)
        parts.push_async_callback(self._hooks.calls.close)
        custom = CustomResources(api)
        custom.start()
        parts.push_async_callback(custom.stop)
        await bootstrap.ensure(self.local, api)
        await self._ensure_crds()
        expiry = EventExpiry(api, self.local)
        expiry.start()
        parts.push_async_callback(expiry.stop)
        streams = Streams(api, certificates)
        parts.push_async_callback(streams.stop)
        documents = Documents(api.kinds)
        await self._listen(Routes(api, documents, streams), certificates, parts)
        parts.callback(api.cache.end_watches)  # else the listener would wait for them
        documents.ready = True

    async def _listen(self, routes: Routes, certificates: pki.Pki, parts: contextlib.AsyncExitStack) -> None:
        address, port = self._settings.api_address, self._settings.api_port
        loop = asyncio.get_running_loop()

        def make(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.Request:
            return web.Request(message, payload, protocol, writer, task, loop, client_max_size=codec.MAX_BODY)

        # Without an Application: `routes` is the only route, and looking it up took a twentieth of a request.
        server = web.Server(
            routes.handle,  # type: ignore[arg-type]  # what comes is what `make` makes
            request_factory=make,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=120,
        )
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_SECONDS)
        await runner.setup()
        parts.push_async_callback(runner.cleanup)
        context = _tls(certificates)
        try:
            await web.TCPSite(runner, address, port, ssl_context=context, reuse_address=True, backlog=_BACKLOG).start()
        except OSError as error:
            raise UnavailableError(f"cannot serve the API at {address}:{port}: {error.strerror or error}") from error

    async def _ensure_crds(self) -> None:
        for crd in self._crds:
            await bootstrap.make(self.local, CRDS, crd)
            await bootstrap.renew(self.local, CRDS, {"metadata": crd["metadata"], "spec": crd["spec"]})


def _tls(certificates: pki.Pki) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificates.certificate("apiserver"), certificates.key("apiserver"))
    context.load_verify_locations(certificates.ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context
