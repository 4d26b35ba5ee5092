"""A webhook server for tests: aiohttp on loopback, over TLS, with a certificate made for it."""

import base64
import contextlib
import datetime
import ipaddress
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Answer = Callable[[dict[str, Any]], dict[str, Any]]


def allow(request: dict[str, Any]) -> dict[str, Any]:
    return {"allowed": True}


def deny(message: str, **status: Any) -> Answer:
    return lambda request: {"allowed": False, "status": {"message": message, **status}}


def patch(*operations: dict[str, Any]) -> Answer:
    encoded = base64.b64encode(orjson.dumps(list(operations))).decode()
    return lambda request: {"allowed": True, "patchType": "JSONPatch", "patch": encoded}


@dataclass
class HookServer:
    """`answers` by path; `seen` is what came."""

    port: int
    bundle: str
    answers: dict[str, Answer] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def config(self, path: str) -> dict[str, Any]:
        return {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": self.bundle}

    def requests(self, path: str) -> list[dict[str, Any]]:
        return [request for at, request in self.seen if at == path]


def certificate() -> tuple[bytes, bytes]:
    """A self-signed one for 127.0.0.1 and for the service `hook` in `default`, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hook")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("hook.default.svc")]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    return made.public_bytes(encoding), private


@contextlib.asynccontextmanager
async def hook_server() -> AsyncIterator[HookServer]:
    public, private = certificate()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "hook.pem"
        file.write_bytes(public + private)
        context.load_cert_chain(file)
    server = HookServer(0, base64.b64encode(public).decode())

    async def handle(http: web.Request) -> web.Response:
        review = orjson.loads(await http.read())
        request = review["request"]
        server.seen.append((http.path, request))
        answer = server.answers[http.path](request)
        if "raw" in answer:
            return web.Response(body=answer["raw"], status=answer.get("code", 200))
        review = {
            "kind": review["kind"],
            "apiVersion": review["apiVersion"],
            "response": {"uid": request["uid"], **answer},
        }
        return web.json_response(review)

    app = web.Application()
    app.router.add_post("/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


def webhook(name: str, config: dict[str, Any], **rest: Any) -> dict[str, Any]:
    """One entry of a webhook configuration, about config maps unless said otherwise."""
    rules = [
        {"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    ]
    return {
        "name": name,
        "clientConfig": config,
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "rules": rules,
        **rest,
    }
