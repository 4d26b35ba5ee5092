"""SPDY/3.1's frames as bytes (draft 3.1, 2.2 and 2.6): one reader that takes whatever has arrived, and one writer each.

In: bytes. Out: frames, as values; a data frame comes in as many `DataFrame`s as the network cut it into, the last one
with the frame's own `fin`. Who is next: `spdy.Connection`, which knows streams. Header blocks stay compressed here.
"""

import struct
from dataclasses import dataclass

from weft.core.errors import InvalidError

VERSION = 3
FIN, UNIDIRECTIONAL = 1, 2
SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
INITIAL_WINDOW_SIZE = 7
MAX_CONTROL = 64 * 1024
MAX_DATA = (1 << 24) - 1
_ID = 0x7FFFFFFF
_LEAST = {SYN_STREAM: 10, SYN_REPLY: 4, HEADERS: 4, SETTINGS: 4}
_EXACT = {RST_STREAM: 8, PING: 4, GOAWAY: 8, WINDOW_UPDATE: 8}


@dataclass(frozen=True, slots=True)
class ControlFrame:
    """`stream` and `value` are the two numbers that a frame begins with, where it has them; `rest` follows."""

    type: int
    flags: int
    stream: int
    value: int = 0
    rest: bytes = b""


@dataclass(frozen=True, slots=True)
class DataFrame:
    """A piece of a data frame."""

    stream: int
    data: bytes
    fin: bool


Frame = ControlFrame | DataFrame


class FrameReader:
    """`feed` bytes as they come; raises InvalidError where they are no SPDY/3, and is of no use after that."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._stream = 0
        self._fin = False
        self._left = 0

    def feed(self, data: bytes) -> list[Frame]:
        self._buffer += data
        frames: list[Frame] = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        if self._left:
            return self._piece()
        if len(self._buffer) < 8:
            return None
        first, second = struct.unpack_from("!II", self._buffer)
        flags, length = second >> 24, second & MAX_DATA
        if first >> 31:
            return self._control(first, flags, length)
        del self._buffer[:8]
        self._stream, self._fin, self._left = first, bool(flags & FIN), length
        return self._piece() if length else DataFrame(first, b"", self._fin)

    def _piece(self) -> DataFrame | None:
        if not self._buffer:
            return None
        data = bytes(self._buffer[: self._left])
        del self._buffer[: len(data)]
        self._left -= len(data)
        return DataFrame(self._stream, data, self._fin and not self._left)

    def _control(self, first: int, flags: int, length: int) -> ControlFrame | None:
        version, kind = first >> 16 & 0x7FFF, first & 0xFFFF
        if version != VERSION:
            raise InvalidError(f"a frame is of SPDY version {version}, not {VERSION}")
        if length > MAX_CONTROL or length < _LEAST.get(kind, 0) or length != _EXACT.get(kind, length):
            raise InvalidError(f"a frame of type {kind} may not have {length} bytes")
        if len(self._buffer) < 8 + length:
            return None
        body = bytes(self._buffer[8 : 8 + length])
        del self._buffer[: 8 + length]
        if kind in (SYN_REPLY, HEADERS):
            return ControlFrame(kind, flags, _number(body) & _ID, 0, body[4:])
        if kind == SYN_STREAM:
            return ControlFrame(kind, flags, _number(body) & _ID, body[8] >> 5, body[10:])
        if kind in (RST_STREAM, GOAWAY, WINDOW_UPDATE):
            return ControlFrame(kind, flags, _number(body) & _ID, _number(body, 4))
        if kind == PING:
            return ControlFrame(kind, flags, 0, _number(body))
        if kind == SETTINGS and length != 4 + 8 * _number(body):
            raise InvalidError(f"SETTINGS of {_number(body)} entries may not have {length} bytes")
        return ControlFrame(kind, flags, 0, 0, body)


def _number(body: bytes, at: int = 0) -> int:
    return int.from_bytes(body[at : at + 4], "big")


def settings_of(frame: ControlFrame) -> dict[int, int]:
    """A SETTINGS frame's values by their id."""
    body = frame.rest
    return {_number(body, at) & 0xFFFFFF: _number(body, at + 4) for at in range(4, 4 + 8 * _number(body), 8)}


def control(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("!HHI", 0x8000 | VERSION, kind, flags << 24 | len(body)) + body


def syn_stream(stream: int, block: bytes, *, fin: bool, priority: int = 0) -> bytes:
    body = struct.pack("!IIBB", stream, 0, priority << 5, 0) + block
    return control(SYN_STREAM, FIN if fin else 0, body)


def syn_reply(stream: int, block: bytes, *, fin: bool) -> bytes:
    return control(SYN_REPLY, FIN if fin else 0, struct.pack("!I", stream) + block)


def two_numbers(kind: int, stream: int, value: int) -> bytes:
    """RST_STREAM, GOAWAY or WINDOW_UPDATE."""
    return control(kind, 0, struct.pack("!II", stream, value))


def ping(number: int) -> bytes:
    return control(PING, 0, struct.pack("!I", number))


def data_head(stream: int, length: int, *, fin: bool) -> bytes:
    return struct.pack("!II", stream, (FIN if fin else 0) << 24 | length)
