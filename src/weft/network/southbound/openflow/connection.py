"""One controller's side of an OpenFlow channel without any input or output (OpenFlow 1.3.5, 6.3 and 6.4).

In: bytes of the switch and the time. Out: events, and bytes to send (`take`). A driver such as `server` carries both.
Every request, batch and bundle is a transaction of consecutive ids whose last message is answered by the switch;
errors of any of its messages are kept until then, so one `Done` tells the whole outcome.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from weft.network.southbound.openflow import messages as m
from weft.network.southbound.openflow.codec import HEADER, decode, encode
from weft.network.southbound.openflow.oxm import OpenFlowError

_XIDS = 0xFFFFFFF0
_HELLO_FAILED, _INCOMPATIBLE = 0, 0


@dataclass(frozen=True, slots=True)
class Ready:
    """The handshake is over; the switch is who `features` says."""

    features: m.Features


@dataclass(frozen=True, slots=True)
class Received:
    """What the switch sends on its own."""

    message: m.Message


@dataclass(frozen=True, slots=True)
class Failure:
    """A message of a transaction, by its place in it, that the switch refused."""

    index: int
    error: m.Error


@dataclass(frozen=True, slots=True)
class Done:
    """A transaction has ended: `replies` to its last message, and everything that was refused."""

    xid: int
    replies: tuple[m.Message, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Dead:
    """The channel is of no more use; nothing follows."""

    cause: str


Event = Ready | Received | Done | Dead


@dataclass(slots=True)
class _Transaction:
    first: int
    last: int
    replies: list[m.Message] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


class Connection:
    """`echo_after` seconds of silence make us ask, `dead_after` more without an answer end the channel."""

    def __init__(self, now: float, *, echo_after: float = 5.0, dead_after: float = 10.0) -> None:
        self.echo_after, self.dead_after = echo_after, dead_after
        self.features: m.Features | None = None
        self.is_dead = False
        self._greeted = False
        self._heard = now
        self._asked: float | None = None
        self._input = bytearray()
        self._output: list[bytes] = []
        self._xid = 1
        self._bundle = 0
        self._open: dict[int, _Transaction] = {}  # by the last id
        self.send(m.Hello())

    # What we send.

    def take(self) -> bytes:
        """All bytes to send by now."""
        out = b"".join(self._output)
        self._output.clear()
        return out

    @property
    def has_output(self) -> bool:
        return bool(self._output)

    def _reserve(self, count: int) -> int:
        if self._xid + count > _XIDS:
            self._xid = 1
        first = self._xid
        self._xid += count
        return first

    def send(self, message: m.Message) -> int:
        """A message that has no answer; an error comes as `Received`."""
        xid = self._reserve(1)
        self._output.append(encode(message, xid))
        return xid

    def _transact(self, messages: Sequence[m.Message]) -> int:
        first = self._reserve(len(messages))
        encoded = [encode(each, xid) for xid, each in enumerate(messages, first)]
        self._output += encoded
        last = first + len(encoded) - 1
        self._open[last] = _Transaction(first, last)
        return last

    def request(self, message: m.Request) -> int:
        """The id that `Done` will bear."""
        return self._transact([message])

    def batch(self, messages: Sequence[m.Message]) -> int:
        """Messages and a barrier: each is done or refused on its own."""
        return self._transact([*messages, m.BarrierRequest()])

    def bundle(self, messages: Sequence[m.FlowMod | m.GroupMod]) -> int:
        """All of them or none (ONF extension 230); `Failure.index` 0 is the opening, n the nth message.

        Nothing waits for the answer to the opening: were it refused, the switch would refuse the commit too.
        """
        self._bundle = self._bundle % 0xFFFFFFFF + 1
        number = self._bundle
        return self._transact(
            [
                m.BundleControl(number, m.BundleStep.OPEN_REQUEST),
                *[m.BundleAdd(number, each) for each in messages],
                m.BundleControl(number, m.BundleStep.COMMIT_REQUEST),
            ]
        )

    # What we hear.

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Takes bytes however they are cut."""
        if self.is_dead:
            return []
        self._heard, self._asked = now, None
        self._input += data
        events: list[Event] = []
        at = 0
        view = bytes(self._input)
        while len(view) - at >= HEADER.size and not self.is_dead:
            (length,) = struct.unpack_from("!H", view, at + 2)
            if length < HEADER.size:
                events.append(self._die(f"the switch sent a message of length {length}"))
                break
            if at + length > len(view):
                break
            self._take_message(view[at : at + length], events)
            at += length
        del self._input[:at]
        return events

    def _die(self, cause: str) -> Dead:
        self.is_dead = True
        return Dead(cause)

    def _take_message(self, data: bytes, events: list[Event]) -> None:
        try:
            xid, message = decode(data)
        except OpenFlowError as error:
            # A message of a later extension is no reason to lose the switch; before the handshake it is.
            if not self._greeted:
                events.append(self._die(str(error)))
            return
        if not self._greeted and not isinstance(message, m.Hello | m.Error):
            events.append(self._die("the switch did not begin with a hello"))
            return
        match message:
            case m.Hello():
                self._hello(message, events)
            case m.EchoRequest():
                self._output.append(encode(m.EchoReply(message.data), xid))
            case m.EchoReply():
                pass
            case m.Features() if self.features is None:
                self.features = message
                events.append(Ready(message))
            case m.Error():
                self._error(message, xid, events)
            case _:
                self._answer(message, xid, events)

    def _hello(self, hello: m.Hello, events: list[Event]) -> None:
        if self._greeted:
            return
        agreed = m.VERSION in hello.versions if hello.versions is not None else hello.version >= m.VERSION
        if not agreed:
            self.send(m.Error(_HELLO_FAILED, _INCOMPATIBLE, b"only OpenFlow 1.3"))
            events.append(self._die("the switch does not speak OpenFlow 1.3"))
            return
        self._greeted = True
        self.send(m.FeaturesRequest())

    def _error(self, error: m.Error, xid: int, events: list[Event]) -> None:
        if not self._greeted:
            events.append(self._die(f"the switch refused the hello: {error}"))
            return
        for last, transaction in self._open.items():
            if transaction.first <= xid <= last:
                transaction.failures.append(Failure(xid - transaction.first, error))
                if xid == last:
                    events.append(self._finish(last))
                return
        events.append(Received(error))

    def _answer(self, message: m.Message, xid: int, events: list[Event]) -> None:
        transaction = self._open.get(xid)
        if transaction is None:
            if isinstance(message, m.PacketIn | m.PortStatus | m.FlowRemoved | m.Experimenter):
                events.append(Received(message))
            return
        transaction.replies.append(message)
        if not (isinstance(message, m.Multipart) and message.more):
            events.append(self._finish(xid))

    def _finish(self, last: int) -> Done:
        transaction = self._open.pop(last)
        return Done(last, tuple(transaction.replies), tuple(transaction.failures))

    # The clock.

    @property
    def deadline(self) -> float:
        """When `tick` is due next."""
        return self._heard + self.echo_after if self._asked is None else self._asked + self.dead_after

    def tick(self, now: float) -> list[Event]:
        if self.is_dead or now < self.deadline:
            return []
        if self._asked is not None or not self._greeted:
            return [self._die("the switch does not answer")]
        self._asked = now
        self.send(m.EchoRequest())
        return []
