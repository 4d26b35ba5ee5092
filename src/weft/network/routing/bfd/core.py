"""BFD sessions as a sans-IO core: `open` one for a neighbour, and hear by NeighborChanged when it is up or down.

In: packets (payload of UDP port 3784, with their TTL), timers. Out: packets, changes of sessions. `Bfd` is a
`protocol.RoutingProtocol`; who uses it turns "Down" after "Up" into NeighborLost for the routing protocol, but not
"AdminDown", by which a neighbour says that it ends the session and nothing else (RFC 5882, 3.2).
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weft.network.routing.bfd.config import BfdConfig
from weft.network.routing.bfd.packet import ControlPacket, Diagnostic, State, decode
from weft.network.routing.protocol import (
    Action,
    Address,
    Event,
    InterfaceChanged,
    InterfaceRemoved,
    NeighborChanged,
    Notice,
    PacketError,
    PacketReceived,
    Send,
    Shutdown,
    TimerFired,
)
from weft.network.routing.timers import Timers

Key = tuple[str, Address]
_SLOW = 1_000_000  # 6.8.3: at most one packet a second while the session is not up
_NAMES = {State.ADMIN_DOWN: "AdminDown", State.DOWN: "Down", State.INIT: "Init", State.UP: "Up"}
# 6.2 and 6.8.6: our state, the neighbour's, and what ours becomes; None for as it is.
_NEXT: dict[tuple[State, State], State] = {
    (State.DOWN, State.DOWN): State.INIT,
    (State.DOWN, State.INIT): State.UP,
    (State.INIT, State.ADMIN_DOWN): State.DOWN,
    (State.INIT, State.INIT): State.UP,
    (State.INIT, State.UP): State.UP,
    (State.UP, State.ADMIN_DOWN): State.DOWN,
    (State.UP, State.DOWN): State.DOWN,
}


@dataclass(slots=True, eq=False)
class Session:
    """6.8.1; intervals in microseconds."""

    interface: str
    address: Address
    discriminator: int
    config: BfdConfig
    state: State = State.DOWN
    remote_state: State = State.DOWN
    remote_discriminator: int = 0
    remote_min_tx: int = 0
    remote_min_rx: int = 1
    remote_multiplier: int = 0
    diagnostic: Diagnostic = Diagnostic.NONE
    polling: bool = False

    @property
    def key(self) -> Key:
        return self.interface, self.address


class Bfd:
    """All sessions of one router; `config` None is for none but on interfaces that `by_interface` names, where another
    holds or, with None there, none. `rng` jitters packets (6.8.7) and chooses discriminators."""

    def __init__(
        self,
        config: BfdConfig | None,
        rng: random.Random | None = None,
        by_interface: Mapping[str, BfdConfig | None] | None = None,
    ) -> None:
        self._config = config
        self._by_interface = dict(by_interface or {})
        self._rng = rng or random.Random()
        self._sessions: dict[Key, Session] = {}
        self._leaving: dict[Key, Session] = {}  # ended by us, and their neighbours are still being told
        self._by_discriminator: dict[int, Session] = {}
        self._timers: Timers[tuple[str, int]] = Timers()
        self._actions: list[Action] = []
        self._now = 0.0

    def next_timer(self) -> float | None:
        return self._timers.next()

    def sessions(self) -> dict[Key, str]:
        return {key: _NAMES[session.state] for key, session in self._sessions.items()}

    def open(self, interface: str, address: Address, now: float) -> Sequence[Action]:
        """Starts a session, unless there is one or none is wanted there."""
        self._begin(now)
        config = self._by_interface.get(interface, self._config)
        if config is not None and (interface, address) not in self._sessions:
            self._forget(self._leaving.pop((interface, address), None))
            discriminator = self._rng.randrange(1, 1 << 32)
            while discriminator in self._by_discriminator:
                discriminator = self._rng.randrange(1, 1 << 32)
            session = Session(interface, address, discriminator, config)
            self._sessions[session.key] = self._by_discriminator[discriminator] = session
            self._transmit(session)
        return self._actions

    def close(self, interface: str, address: Address, now: float) -> Sequence[Action]:
        """Ends a session; the neighbour is told for a while that this is meant (AdminDown)."""
        self._begin(now)
        session = self._sessions.get((interface, address))
        if session is not None:
            self._end(session)
        return self._actions

    def handle(self, event: Event, now: float) -> Sequence[Action]:
        self._begin(now)
        match event:
            case PacketReceived():
                self._received(event)
            case TimerFired():
                for what, discriminator in self._timers.expired(now):
                    session = self._by_discriminator.get(discriminator)
                    if session is not None:
                        self._timer(what, session)
            case InterfaceChanged(interface) if not interface.up:
                for session in self._on(interface.name):
                    self._become(session, State.DOWN, Diagnostic.EXPIRED)
            case InterfaceRemoved(name):
                for session in self._on(name):
                    self._end(session)
                for key in [key for key in self._leaving if key[0] == name]:
                    self._forget(self._leaving.pop(key))
            case Shutdown():
                for session in list(self._sessions.values()):
                    self._end(session)
        return self._actions

    def _begin(self, now: float) -> None:
        self._now = now
        self._actions = []

    def _on(self, interface: str) -> list[Session]:
        return [session for session in self._sessions.values() if session.interface == interface]

    def _end(self, session: Session) -> None:
        """6.8.16: says AdminDown for the time in which the neighbour would notice our silence."""
        session.state, session.diagnostic, session.polling = State.ADMIN_DOWN, Diagnostic.ADMIN_DOWN, False
        self._timers.cancel(("detect", session.discriminator))
        del self._sessions[session.key]
        self._leaving[session.key] = session
        self._transmit(session)
        self._timers.set(
            ("leave", session.discriminator), self._now + session.config.multiplier * self._interval(session)
        )
        self._tell(session, gone=True)

    def _forget(self, session: Session | None) -> None:
        if session is not None:
            for what in ("transmit", "detect", "leave"):
                self._timers.cancel((what, session.discriminator))
            del self._by_discriminator[session.discriminator]

    def _received(self, event: PacketReceived) -> None:
        """6.8.6, and RFC 5881, 5: only packets that no router has passed on count."""
        if event.ttl != 255:
            self._notice(event, f"its TTL is {event.ttl}, not 255")
            return
        try:
            packet = decode(event.data)
        except PacketError as error:
            self._notice(event, str(error))
            return
        if packet.your_discriminator:
            session = self._by_discriminator.get(packet.your_discriminator)
        else:
            session = self._sessions.get((event.interface, event.source))
        if session is None or session.key != (event.interface, event.source) or session.state is State.ADMIN_DOWN:
            return
        session.remote_discriminator = packet.my_discriminator
        session.remote_state = packet.state
        was = self._interval(session)
        session.remote_min_tx, session.remote_min_rx = packet.desired_min_tx, packet.required_min_rx
        session.remote_multiplier = packet.multiplier
        if packet.final:
            session.polling = False
        self._expect(session)
        target = _NEXT.get((session.state, packet.state))
        if target is not None:
            why = Diagnostic.NEIGHBOR_DOWN if target is State.DOWN else Diagnostic.NONE
            self._become(session, target, why)
        elif self._interval(session) != was:
            self._schedule(session)
        if packet.poll:
            self._send(session, final=True)

    def _notice(self, event: PacketReceived, why: str) -> None:
        self._actions.append(Notice("bfd", event.interface, f"packet from {event.source} refused: {why}"))

    def _timer(self, what: str, session: Session) -> None:
        if what == "transmit":
            self._transmit(session)
        elif what == "leave":
            self._forget(self._leaving.pop(session.key, None))
        else:
            session.remote_discriminator = 0
            if session.state > State.DOWN:
                self._become(session, State.DOWN, Diagnostic.EXPIRED)

    def _become(self, session: Session, state: State, diagnostic: Diagnostic) -> None:
        """The only place where a session's state changes but for its end."""
        if session.state is state:
            return
        session.state, session.diagnostic = state, diagnostic
        if state is State.DOWN:
            self._timers.cancel(("detect", session.discriminator))
        session.polling = state is State.UP  # 6.8.3: our interval has just become shorter
        self._transmit(session)
        self._tell(session)

    def _tell(self, session: Session, *, gone: bool = False) -> None:
        by_remote = session.state is State.DOWN and session.remote_state is State.ADMIN_DOWN
        name = "AdminDown" if by_remote else _NAMES[session.state]
        self._actions.append(NeighborChanged("bfd", session.interface, session.address, name, gone=gone))

    def _desired(self, session: Session) -> int:
        wanted = round(session.config.transmit * 1e6)
        return wanted if session.state is State.UP else max(wanted, _SLOW)

    def _interval(self, session: Session) -> float:
        """Seconds between our packets, before jitter; 0 for none, as the neighbour wants."""
        if session.remote_min_rx == 0:
            return 0.0
        return max(self._desired(session), session.remote_min_rx) / 1e6

    def _expect(self, session: Session) -> None:
        """6.8.4: the detection time, by the neighbour's own intervals."""
        interval = max(_receives(session), session.remote_min_tx) / 1e6
        self._timers.set(("detect", session.discriminator), self._now + session.remote_multiplier * interval)

    def _transmit(self, session: Session) -> None:
        self._send(session)
        self._schedule(session)

    def _schedule(self, session: Session) -> None:
        interval = self._interval(session)
        if not interval:
            self._timers.cancel(("transmit", session.discriminator))
            return
        most = 0.9 if session.config.multiplier == 1 else 1.0
        self._timers.set(("transmit", session.discriminator), self._now + interval * self._rng.uniform(0.75, most))

    def _send(self, session: Session, *, final: bool = False) -> None:
        packet = ControlPacket(
            session.state,
            session.discriminator,
            session.remote_discriminator,
            self._desired(session),
            _receives(session),
            session.config.multiplier,
            session.diagnostic,
            poll=session.polling and not final,
            final=final,
        )
        self._actions.append(Send(session.interface, session.address, packet.encode()))


def _receives(session: Session) -> int:
    return round(session.config.receive * 1e6)
