"""The way to an etcd cluster: gRPC to one of its members at a time, the next one when that fails.

In: an `Address`, messages as bytes (`etcd_wire`). Out: answers as bytes, and errors
of the contract. A member that cannot be reached is left for the next; a write is sent again only where it surely never
arrived. Passwords become tokens (Auth.Authenticate), which are asked for anew when they run out.
Who is next: `etcd`.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator
from typing import Any

import grpc.aio  # type: ignore[import-untyped]

from weft.core.errors import ForbiddenError, InvalidError, TimedOutError, UnavailableError, WeftError
from weft.store import etcd_wire
from weft.store.base import FutureRevisionError
from weft.store.etcd_address import Address

_log = logging.getLogger(__name__)

_CALL_SECONDS = 5.0
# How long reads look for a member that answers.
_SEARCH_SECONDS = 5.0
_PAUSE_SECONDS = 0.1
# What is under way with a member that is left may still be answered for so long.
_LEAVE_SECONDS = 1.0
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.min_reconnect_backoff_ms", 2000),  # how long an attempt may take
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
)
_COMPACTED = "required revision has been compacted"
_FUTURE = "required revision is a future revision"
# Said with code INVALID_ARGUMENT.
_WHO = ("invalid user ID or password", "user name is empty")
# What gRPC says where no connection came about, so nothing was sent.
_NOT_SENT = ("failed to connect", "connection refused", "dns resolution failed", "name resolution")


class CompactedOnServerError(WeftError):
    """The server has forgotten the revision."""


class Link:
    """`call` and `watch`; `close` at the end."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._member = 0
        self._token = ""
        self._channel: Any = None
        self._closing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()
            self._channel = None
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def call(self, method: str, request: bytes, *, repeatable: bool = True) -> bytes:
        """One request and its answer; `repeatable` ones are sent again when no answer came.

        Raises UnavailableError, InvalidError, ForbiddenError, FutureRevisionError, CompactedOnServerError.
        """
        until = time.monotonic() + _SEARCH_SECONDS
        tries = 0
        while True:
            channel = self._open()
            try:
                return await self._unary(channel, method, request)
            except asyncio.CancelledError:
                _raise_cancelled()
                if not repeatable:
                    raise TimedOutError("etcdserver: request timed out") from None
            except grpc.aio.AioRpcError as error:
                tries += 1
                code, text = error.code(), error.details() or ""
                if code is grpc.StatusCode.UNAUTHENTICATED and self._address.user and tries < 3:
                    self._token = ""
                    continue
                never_sent = any(phrase in text.lower() for phrase in _NOT_SENT)
                lost = code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
                if lost:
                    self._leave(channel)
                if not lost or not (repeatable or never_sent) or time.monotonic() > until:
                    raise _error(code, text) from None
            if tries >= len(self._address.members):
                await asyncio.sleep(_PAUSE_SECONDS)

    async def watch(self, request: bytes) -> AsyncGenerator[bytes, None]:
        """What the server says of one watch; raises as `call` does when the connection breaks."""
        channel = self._open()
        try:
            metadata = await self._metadata(channel)
            stream = channel.stream_stream("/etcdserverpb.Watch/Watch")(metadata=metadata)
            try:
                await stream.write(request)
                while (data := await stream.read()) is not grpc.aio.EOF:
                    yield data
            finally:
                stream.cancel()
                await stream.code()  # nothing of it may come after its loop has closed
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                self._token = ""
            else:
                self._leave(channel)
            raise _error(error.code(), error.details() or "") from None
        except asyncio.CancelledError:
            _raise_cancelled()
            raise UnavailableError("cannot reach etcd: the connection was given up") from None

    async def _unary(self, channel: Any, method: str, request: bytes) -> bytes:
        metadata = await self._metadata(channel)
        answer = await channel.unary_unary(method)(request, timeout=_CALL_SECONDS, metadata=metadata)
        assert isinstance(answer, bytes)
        return answer

    async def _metadata(self, channel: Any) -> tuple[tuple[str, str], ...]:
        address = self._address
        if not address.user:
            return ()
        if not self._token:
            assert address.password_file is not None
            password = address.password_file.read_text().rstrip("\n")
            request = etcd_wire.authenticate(address.user, password)
            self._token = etcd_wire.token(
                await channel.unary_unary("/etcdserverpb.Auth/Authenticate")(request, timeout=_CALL_SECONDS)
            )
        return (("token", self._token),)

    def _open(self) -> Any:
        if self._channel is None:
            address = self._address
            member = address.members[self._member % len(address.members)]
            if address.ca is None:
                self._channel = grpc.aio.insecure_channel(member, options=_OPTIONS)
            else:
                try:
                    credentials = grpc.ssl_channel_credentials(
                        address.ca.read_bytes(),
                        address.key.read_bytes() if address.key else None,
                        address.cert.read_bytes() if address.cert else None,
                    )
                except OSError as error:
                    raise InvalidError(f"cannot use the store's certificates: {error}") from error
                self._channel = grpc.aio.secure_channel(member, credentials, options=_OPTIONS)
        return self._channel

    def _leave(self, channel: Any) -> None:
        """Goes on with the next member, unless another call has done so already."""
        if channel is not self._channel:
            return
        _log.debug("leaving the etcd member", extra={"member": self._member % len(self._address.members)})
        self._member += 1
        self._channel = None
        task = asyncio.create_task(self._close(channel))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, channel: Any) -> None:
        with contextlib.suppress(Exception):  # whatever it says, nobody uses it any more
            await channel.close(grace=_LEAVE_SECONDS)


def _raise_cancelled() -> None:
    """Where the task itself is to end; else a channel was closed under it, which gRPC tells in the same way."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _error(code: Any, text: str) -> Exception:
    if _COMPACTED in text:
        return CompactedOnServerError()
    if _FUTURE in text:
        return FutureRevisionError(f"cannot read etcd: {text}")
    if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED) or text.endswith(_WHO):
        return ForbiddenError(f"etcd refuses: {text}")
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return InvalidError(f"etcd refuses: {text}")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimedOutError("etcdserver: request timed out")
    return UnavailableError(f"cannot reach etcd: {text}")
