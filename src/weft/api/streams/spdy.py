"""SPDY/3.1 without sockets: streams inside one connection, seen from either end.

In: `receive(bytes)` and the calls of whoever uses the streams. Out: events, and `to_send()`, the bytes to write.
Source: the SPDY protocol draft 3.1. Kubernetes's clients and servers use it for exec, attach and port-forward, with
github.com/moby/spdystream, which neither keeps to windows (2.6.8) nor opens them: `windowed` is off for these.
"""

from dataclasses import dataclass
from typing import Literal

from weft.api.streams import spdy_frames as wire
from weft.api.streams.spdy_headers import HeaderReader, Headers, HeaderWriter
from weft.core.errors import ConflictError, InvalidError

PROTOCOL_ERROR, INVALID_STREAM, REFUSED_STREAM, CANCEL, INTERNAL_ERROR = 1, 2, 3, 5, 6
FLOW_CONTROL_ERROR, STREAM_IN_USE, STREAM_ALREADY_CLOSED = 7, 8, 9
GOAWAY_OK, GOAWAY_PROTOCOL_ERROR = 0, 1
WINDOW = 64 * 1024
_MAX_WINDOW = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Opened:
    """The peer opened a stream, and with `fin` will send nothing on it."""

    stream: int
    headers: Headers
    fin: bool


@dataclass(frozen=True, slots=True)
class Replied:
    """The peer took a stream that we had opened."""

    stream: int
    headers: Headers


@dataclass(frozen=True, slots=True)
class Received:
    """Data came; `fin` ends that direction. In a windowed session, `consumed` lets the peer send more."""

    stream: int
    data: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class WasReset:
    """The peer, or the protocol, ended a stream at once."""

    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class Writable:
    """A window opened: `room` is greater than it was."""

    stream: int


@dataclass(frozen=True, slots=True)
class Ponged:
    """An answer to `ping`."""

    number: int


@dataclass(frozen=True, slots=True)
class GoingAway:
    """The peer takes no more streams."""

    status: int


Event = Opened | Replied | Received | WasReset | Writable | Ponged | GoingAway


@dataclass(slots=True)
class _Stream:
    ours: bool
    replied: bool = False
    we_ended: bool = False
    they_ended: bool = False
    room: int = WINDOW
    unread: int = 0


class Connection:
    """One end of a session. After an InvalidError of `receive`, what is left to do is to send `to_send()` and close."""

    def __init__(self, role: Literal["client", "server"], *, windowed: bool = False) -> None:
        self._windowed = windowed
        self._frames = wire.FrameReader()
        self._reader, self._writer = HeaderReader(), HeaderWriter()
        self._streams: dict[int, _Stream] = {}
        self._out: list[bytes] = []
        self._next_ours = 1 if role == "client" else 2
        self._next_ping = self._next_ours
        self._last_theirs = 0
        self._their_parity = 0 if role == "client" else 1
        self._first_room = WINDOW
        self._going_away = False

    # What we do

    def open(self, headers: Headers, *, fin: bool = False) -> int:
        """Opens a stream and returns its number; raises ConflictError where the peer takes no more."""
        if self._going_away:
            raise ConflictError("cannot open a stream: the peer is going away")
        number = self._next_ours
        self._next_ours += 2
        self._streams[number] = _Stream(True, we_ended=fin, room=self._first_room)
        self._out.append(wire.syn_stream(number, self._writer.write(headers), fin=fin))
        return number

    def reply(self, stream: int, headers: Headers) -> None:
        """Takes a stream of the peer's; raises ConflictError where that is not to be done, or was done."""
        state = self._known(stream)
        if state.ours or state.replied:
            raise ConflictError(f"cannot reply on stream {stream}: it is ours, or has been replied on")
        state.replied = True
        self._out.append(wire.syn_reply(stream, self._writer.write(headers), fin=False))

    def room(self, stream: int) -> int:
        """How many bytes may be sent on the stream now."""
        state = self._streams.get(stream)
        if state is None or state.we_ended:
            return 0
        return max(state.room, 0) if self._windowed else _MAX_WINDOW

    def send(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        """Raises ConflictError where the stream is closed for us, or has no `room` for so much."""
        state = self._known(stream)
        if state.we_ended:
            raise ConflictError(f"cannot send on stream {stream}: it was ended")
        if len(data) > self.room(stream):
            raise ConflictError(f"cannot send {len(data)} bytes on stream {stream}: its window is {state.room}")
        state.room -= len(data)
        for start in range(0, len(data), wire.MAX_DATA):
            piece = data[start : start + wire.MAX_DATA]
            last = start + len(piece) == len(data)
            self._out += [wire.data_head(stream, len(piece), fin=fin and last), piece]
        if fin and not data:
            self._out.append(wire.data_head(stream, 0, fin=True))
        if fin:
            state.we_ended = True
            self._forget_if_done(stream)

    def consumed(self, stream: int, size: int) -> None:
        """`size` bytes of the stream's data were used: in a windowed session the peer may send as many again."""
        state = self._streams.get(stream)
        if not self._windowed or state is None or state.they_ended:
            return
        state.unread -= size
        self._out.append(wire.two_numbers(wire.WINDOW_UPDATE, stream, size))

    def reset(self, stream: int, status: int = CANCEL) -> None:
        """Ends a stream at once; one that has ended is no error."""
        if self._streams.pop(stream, None) is not None:
            self._out.append(wire.two_numbers(wire.RST_STREAM, stream, status))

    def ping(self) -> int:
        number = self._next_ping
        self._next_ping += 2
        self._out.append(wire.ping(number))
        return number

    def go_away(self, status: int = GOAWAY_OK) -> None:
        """Says that no more streams are taken."""
        self._out.append(wire.two_numbers(wire.GOAWAY, self._last_theirs, status))

    def to_send(self) -> bytes:
        """What is to be written, once."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    # What the peer does

    def receive(self, data: bytes) -> list[Event]:
        """Raises InvalidError where the peer breaks the session's rules; errors of one stream only reset it."""
        events: list[Event] = []
        try:
            for frame in self._frames.feed(data):
                if isinstance(frame, wire.DataFrame):
                    self._data(frame, events)
                else:
                    self._control(frame, events)
        except InvalidError:
            self.go_away(GOAWAY_PROTOCOL_ERROR)
            raise
        return events

    def _data(self, frame: wire.DataFrame, events: list[Event]) -> None:
        state = self._streams.get(frame.stream)
        if state is None:
            # One that we reset may have been written to before the peer knew; one that never was is an error.
            if not self._ever_was(frame.stream):
                self._out.append(wire.two_numbers(wire.RST_STREAM, frame.stream, INVALID_STREAM))
            return
        if state.they_ended:
            self._break(frame.stream, STREAM_ALREADY_CLOSED, events)
            return
        state.unread += len(frame.data)
        if self._windowed and state.unread > WINDOW:
            self._break(frame.stream, FLOW_CONTROL_ERROR, events)
            return
        state.they_ended = frame.fin
        events.append(Received(frame.stream, frame.data, frame.fin))
        self._forget_if_done(frame.stream)

    def _control(self, frame: wire.ControlFrame, events: list[Event]) -> None:
        stream = frame.stream
        if frame.type in (wire.SYN_STREAM, wire.SYN_REPLY, wire.HEADERS):
            # Read whatever becomes of the stream: the blocks after it depend on it.
            headers = self._reader.read(frame.rest)
            if frame.type == wire.SYN_STREAM:
                self._opened(frame, headers, events)
            else:
                self._more_headers(frame, headers, events)
        elif frame.type == wire.RST_STREAM:
            if self._streams.pop(stream, None) is not None:
                events.append(WasReset(stream, frame.value))
        elif frame.type == wire.PING:
            # Ours have the parity of our streams (2.6.5).
            if frame.value % 2 == self._their_parity:
                self._out.append(wire.ping(frame.value))
            else:
                events.append(Ponged(frame.value))
        elif frame.type == wire.GOAWAY:
            self._going_away = True
            events.append(GoingAway(frame.value))
        elif frame.type == wire.WINDOW_UPDATE:
            self._window(stream, frame.value & _MAX_WINDOW, events)
        elif frame.type == wire.SETTINGS:
            self._settings(wire.settings_of(frame), events)
        # Other types are to be ignored (2.2.1).

    def _opened(self, frame: wire.ControlFrame, headers: Headers, events: list[Event]) -> None:
        stream = frame.stream
        if stream % 2 != self._their_parity or stream <= self._last_theirs:
            raise InvalidError(f"the peer may not open stream {stream}: its last was {self._last_theirs}")
        self._last_theirs = stream
        fin, one_way = bool(frame.flags & wire.FIN), bool(frame.flags & wire.UNIDIRECTIONAL)
        self._streams[stream] = _Stream(False, we_ended=one_way, they_ended=fin, room=self._first_room)
        events.append(Opened(stream, headers, fin))
        self._forget_if_done(stream)

    def _more_headers(self, frame: wire.ControlFrame, headers: Headers, events: list[Event]) -> None:
        state = self._streams.get(frame.stream)
        if state is None:
            if not self._ever_was(frame.stream):
                self._out.append(wire.two_numbers(wire.RST_STREAM, frame.stream, INVALID_STREAM))
            return
        if state.they_ended:
            self._break(frame.stream, STREAM_ALREADY_CLOSED, events)
            return
        if frame.type == wire.SYN_REPLY:
            if not state.ours or state.replied:
                self._break(frame.stream, STREAM_IN_USE if state.ours else PROTOCOL_ERROR, events)
                return
            state.replied = True
            events.append(Replied(frame.stream, headers))
        if frame.flags & wire.FIN:
            state.they_ended = True
            events.append(Received(frame.stream, b"", True))
            self._forget_if_done(frame.stream)

    def _window(self, stream: int, more: int, events: list[Event]) -> None:
        state = self._streams.get(stream)
        if state is None or not self._windowed:
            return
        if more == 0 or state.room + more > _MAX_WINDOW:
            self._break(stream, FLOW_CONTROL_ERROR, events)
            return
        state.room += more
        events.append(Writable(stream))

    def _settings(self, values: dict[int, int], events: list[Event]) -> None:
        """A new first window counts for streams that are there too, so that their rooms may fall below 0 (2.6.8)."""
        if wire.INITIAL_WINDOW_SIZE not in values or not self._windowed:
            return
        size = values[wire.INITIAL_WINDOW_SIZE]
        if size > _MAX_WINDOW:
            raise InvalidError(f"an initial window of {size} bytes is too large")
        change, self._first_room = size - self._first_room, size
        for number, state in self._streams.items():
            state.room += change
            if change > 0:
                events.append(Writable(number))

    # Streams

    def _known(self, stream: int) -> _Stream:
        state = self._streams.get(stream)
        if state is None:
            raise ConflictError(f"there is no stream {stream}, or it has ended")
        return state

    def _ever_was(self, stream: int) -> bool:
        if stream % 2 == self._their_parity:
            return 0 < stream <= self._last_theirs
        return 0 < stream < self._next_ours

    def _break(self, stream: int, status: int, events: list[Event]) -> None:
        self.reset(stream, status)
        events.append(WasReset(stream, status))

    def _forget_if_done(self, stream: int) -> None:
        state = self._streams[stream]
        if state.we_ended and state.they_ended:
            del self._streams[stream]
