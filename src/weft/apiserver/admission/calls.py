"""Calling webhooks: by URL or through a service, over TLS, one JSON document there and one back.

In: a clientConfig and a document. Out: the answer's document, or CallError with the words that Go's client has.
Who is next: admission webhooks, conversion webhooks. Source: apiserver `pkg/util/webhook`.
"""

import base64
import contextlib
import ssl
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import aiohttp
import orjson

from weft.api.gvr import ENDPOINTSLICES, SERVICES
from weft.apiserver.api import Api, Object

_MOST = 3 * 1024 * 1024


class CallError(Exception):
    """The webhook could not be asked, or its answer not be understood."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and whose name the certificate must bear; `shown` is for messages."""

    url: str
    server_name: str
    shown: str


class Calls:
    """`await calls.post(config, document, seconds)`; `close` at the end."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, config: Object, document: Object, seconds: float | None = None) -> Object:
        """Raises CallError."""
        target = self._target(config)
        query = f"?timeout={seconds:g}s" if seconds is not None else ""
        failed = f'Post "{target.shown}{query}": '
        context = _tls(config.get("caBundle") or "")
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        timeout = aiohttp.ClientTimeout(total=seconds or 30.0)
        headers = {"Content-Type": "application/json", "Accept": "application/json, */*", "Host": target.server_name}
        try:
            async with self._session.post(
                target.url + query,
                data=orjson.dumps(document),
                headers=headers,
                ssl=context,
                server_hostname=target.server_name.rpartition(":")[0] or target.server_name,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                body = await response.content.read(_MOST + 1)
                if response.status != 200:
                    text = body[:200].decode(errors="replace").strip()
                    raise CallError(f"an error on the server ({text!r}) has prevented the request from succeeding")
        except TimeoutError:
            raise CallError(failed + "context deadline exceeded") from None
        except aiohttp.ClientConnectorCertificateError as error:
            why = error.certificate_error
            text = getattr(why, "verify_message", "") or str(why)
            raise CallError(f"{failed}tls: failed to verify certificate: x509: {text}") from None
        except aiohttp.ClientConnectorError as error:
            raise CallError(f"{failed}dial tcp {error.host}:{error.port}: connect: {_words(error)}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise CallError(failed + (str(error) or type(error).__name__)) from None
        if len(body) > _MOST:
            raise CallError(f"{failed}the answer is longer than {_MOST} bytes")
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise CallError(f"couldn't decode the answer: {error}") from None
        if not isinstance(answer, dict):
            raise CallError("couldn't decode the answer: it is no object")
        return answer

    def _target(self, config: Object) -> Target:
        url = config.get("url")
        if url:
            host = url.partition("://")[2].partition("/")[0]
            return Target(url, host, url)
        service = config.get("service") or {}
        name, namespace = str(service.get("name")), str(service.get("namespace"))
        port = service.get("port") or 443
        path = service.get("path") or "/"
        server_name = f"{name}.{namespace}.svc"
        address = self._endpoint(name, namespace, port)
        return Target(f"https://{address}{path}", server_name, f"https://{server_name}:{port}{path}")

    def _endpoint(self, name: str, namespace: str, port: int) -> str:
        """A ready address behind the service: what its cluster address would lead to."""
        kinds, objects = self._api.kinds, self._api.objects
        services, slices = kinds.by_gvr(SERVICES), kinds.by_gvr(ENDPOINTSLICES)
        assert services is not None
        assert slices is not None
        service = objects.get(services, namespace, name)
        if service is None:
            raise CallError(f'service "{name}" not found')
        ports = [each for each in service["spec"].get("ports") or () if each.get("port") == port]
        if not ports:
            raise CallError(f'no service port {port} found for service "{name}"')
        if service["spec"].get("type") == "ExternalName":
            return f"{service['spec'].get('externalName')}:{port}"
        for each in objects.each(slices, namespace):
            if (each["metadata"].get("labels") or {}).get("kubernetes.io/service-name") != name:
                continue
            numbers = [
                p.get("port") for p in each.get("ports") or () if (p.get("name") or "") == ports[0].get("name", "")
            ]
            for endpoint in each.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready") is not False and numbers and endpoint["addresses"]:
                    address = endpoint["addresses"][0]
                    return f"[{address}]:{numbers[0]}" if ":" in address else f"{address}:{numbers[0]}"
        raise CallError(f'no endpoints available for service "{name}"')


def _words(error: aiohttp.ClientConnectorError) -> str:
    cause: Any = error.os_error
    while isinstance(cause.__cause__, OSError) and not cause.strerror:
        cause = cause.__cause__
    known = {"ConnectionRefusedError": "connection refused", "TimeoutError": "i/o timeout"}
    return known.get(type(cause).__name__) or str(cause.strerror or cause).lower()


@lru_cache(64)
def _tls(bundle: str) -> ssl.SSLContext:
    """Trusts the bundle alone, or, where there is none, what the machine trusts."""
    if not bundle:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with contextlib.suppress(ssl.SSLError, ValueError):  # then it trusts nobody, and the call says so
        context.load_verify_locations(cadata=base64.b64decode(bundle).decode("ascii"))
    return context
