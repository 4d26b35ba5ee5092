"""Interfaces and neighbours: hellos, the Designated Router, and the exchange of databases (RFC 2328, 9 and 10).

In: interfaces' ups and downs, Hello and Database Description packets, timers. Out: such packets, and neighbours that
come to Full; `changed` is called when what our LSAs must say of a circuit has changed.
"""

from collections.abc import Callable
from ipaddress import IPv4Address

from weft.network.routing.ospf.election import Candidate, elect
from weft.network.routing.ospf.lsa import ASBR_SUMMARY, EXTERNAL, MAX_AGE, ROUTER, newer
from weft.network.routing.ospf.packet import (
    DD_INIT,
    DD_MASTER,
    DD_MORE,
    DatabaseDescription,
    Hello,
    LinkStateRequest,
)
from weft.network.routing.ospf.state import (
    ALL_ROUTERS,
    Circuit,
    Instance,
    InterfaceState,
    Neighbor,
    NeighborState,
    TimerKey,
)

_TIMERS = ("hello", "wait", "ack")
_NEIGHBOR_TIMERS = ("dead", "retransmit")


class Adjacency:
    def __init__(self, instance: Instance, changed: Callable[[Circuit], None]) -> None:
        self._instance = instance
        self._changed = changed
        self._dd_sequence = instance.config.sequence_origin & 0x7FFFFFFF

    # Interfaces (9.3)

    def interface_up(self, circuit: Circuit) -> None:
        config = circuit.config
        if config.network_type == "loopback":
            circuit.state = InterfaceState.LOOPBACK
        elif config.network_type == "point-to-point":
            circuit.state = InterfaceState.POINT_TO_POINT
        elif config.passive or config.priority == 0:
            circuit.state = InterfaceState.DR_OTHER
        else:
            circuit.state = InterfaceState.WAITING
            self._instance.timers.set(("wait", circuit.name, 0), self._instance.now + config.dead_interval)
        if circuit.state is not InterfaceState.LOOPBACK and not config.passive:
            self.hello(circuit)
        self._changed(circuit)

    def interface_down(self, circuit: Circuit) -> None:
        for neighbor in list(circuit.neighbors.values()):
            self.kill(circuit, neighbor)
        for what in _TIMERS:
            self._instance.timers.cancel((what, circuit.name, 0))
        circuit.state = InterfaceState.DOWN
        circuit.designated = circuit.backup = 0
        circuit.acks.clear()
        circuit.floods.clear()
        self._changed(circuit)

    def wait_over(self, circuit: Circuit) -> None:
        if circuit.state is InterfaceState.WAITING:
            self._elect(circuit)

    def _elect(self, circuit: Circuit) -> None:
        """9.4, and what follows from it for adjacencies."""
        self._instance.timers.cancel(("wait", circuit.name, 0))
        mine = int(circuit.address.ip)
        me = Candidate(mine, self._instance.router, circuit.config.priority, circuit.designated, circuit.backup)
        others = [
            Candidate(int(each.address), each.router, each.priority, each.designated, each.backup)
            for each in circuit.neighbors.values()
            if each.state >= NeighborState.TWO_WAY
        ]
        before = (circuit.state, circuit.designated, circuit.backup)
        circuit.designated, circuit.backup = elect(me, others)
        circuit.state = InterfaceState.DR_OTHER
        if circuit.designated == mine:
            circuit.state = InterfaceState.DR
        elif circuit.backup == mine:
            circuit.state = InterfaceState.BACKUP
        if before == (circuit.state, circuit.designated, circuit.backup):
            return
        self.hello(circuit)
        for neighbor in list(circuit.neighbors.values()):
            if neighbor.state >= NeighborState.TWO_WAY:
                self._reconsider(circuit, neighbor)
        self._changed(circuit)

    # Hellos (9.5, 10.5)

    def hello(self, circuit: Circuit, *, farewell: bool = False) -> None:
        """Sends one and starts the timer for the next. A farewell knows no neighbours."""
        config = circuit.config
        network = circuit.address.network
        known = (each.router for each in circuit.neighbors.values() if each.state >= NeighborState.INIT)
        hello = Hello(
            int(network.netmask), config.wire_hello, self._instance.area(circuit.area).options, config.priority,
            config.wire_dead, circuit.designated, circuit.backup, () if farewell else tuple(sorted(known)),
        )  # fmt: skip
        self._instance.send(circuit, ALL_ROUTERS, hello)
        self._instance.timers.set(("hello", circuit.name, 0), self._instance.now + config.hello_interval)

    def received_hello(self, circuit: Circuit, router: int, source: IPv4Address, hello: Hello) -> None:
        instance, config = self._instance, circuit.config
        wrong = self._refusal(circuit, hello)
        if wrong:
            instance.notice(circuit, f"Hello from {source} refused: {wrong}")
            return
        key = router if circuit.is_point_to_point else int(source)
        neighbor = circuit.neighbors.get(key)
        if neighbor is not None and (neighbor.router != router or neighbor.address != source):
            self.kill(circuit, neighbor)  # another router, or another address of it
            neighbor = None
        is_new = neighbor is None
        if neighbor is None:
            neighbor = circuit.neighbors[key] = Neighbor(key, router, source, hello.priority)
        was = (neighbor.priority, neighbor.designated, neighbor.backup)
        neighbor.priority, neighbor.designated, neighbor.backup = hello.priority, hello.designated, hello.backup
        neighbor.options = hello.options
        instance.timers.set(("dead", circuit.name, key), instance.now + config.dead_interval)
        if neighbor.state is NeighborState.DOWN:
            self._become(circuit, neighbor, NeighborState.INIT)
        before = neighbor.state
        if instance.router not in hello.neighbors:
            if neighbor.state >= NeighborState.TWO_WAY:
                self._reset(circuit, neighbor)
                self._become(circuit, neighbor, NeighborState.INIT)
                if circuit.state > InterfaceState.POINT_TO_POINT:
                    self._elect(circuit)
            if is_new:
                self.hello(circuit)  # at once, so that both sides see each other without waiting
            return
        if is_new:
            self.hello(circuit)
        if neighbor.state is NeighborState.INIT:
            self._two_way(circuit, neighbor)
        if not circuit.is_point_to_point:
            self._watch_roles(circuit, neighbor, was, before)

    def _refusal(self, circuit: Circuit, hello: Hello) -> str:
        """Why a hello cannot be from a neighbour (10.5); empty where it can."""
        config = circuit.config
        if not circuit.is_point_to_point and hello.mask != int(circuit.address.network.netmask):
            return f"its network mask is {IPv4Address(hello.mask)}, not {circuit.address.network.netmask}"
        if config.wire_hello and hello.hello_interval != config.wire_hello:
            return f"its HelloInterval is {hello.hello_interval} s, not {config.wire_hello}"
        if hello.dead_interval != config.wire_dead:
            return f"its RouterDeadInterval is {hello.dead_interval} s, not {config.wire_dead}"
        options = self._instance.area(circuit.area).options
        if (hello.options ^ options) & 2:
            return "one of us holds the area for a stub area"
        return ""

    def _watch_roles(
        self, circuit: Circuit, neighbor: Neighbor, was: tuple[int, int, int], before: NeighborState
    ) -> None:
        """BackupSeen and NeighborChange (9.2)."""
        mine = int(neighbor.address)
        if circuit.state is InterfaceState.WAITING:
            if neighbor.backup == mine or (neighbor.designated == mine and neighbor.backup == 0):
                self._elect(circuit)
            return
        claims = (was[1] == mine, was[2] == mine) != (neighbor.designated == mine, neighbor.backup == mine)
        if before < NeighborState.TWO_WAY or was[0] != neighbor.priority or claims:
            self._elect(circuit)

    # Neighbours (10.3)

    def _become(self, circuit: Circuit, neighbor: Neighbor, state: NeighborState) -> None:
        """The only place where a neighbour's state changes."""
        if neighbor.state is state:
            return
        was, neighbor.state = neighbor.state, state
        self._instance.tell(circuit, neighbor)
        if NeighborState.FULL in (was, state):
            self._changed(circuit)

    def kill(self, circuit: Circuit, neighbor: Neighbor) -> None:
        """KillNbr, InactivityTimer, LLDown"""
        self._reset(circuit, neighbor)
        for what in _NEIGHBOR_TIMERS:
            self._instance.timers.cancel((what, circuit.name, neighbor.key))
        del circuit.neighbors[neighbor.key]
        was_two_way = neighbor.state >= NeighborState.TWO_WAY
        self._become(circuit, neighbor, NeighborState.DOWN)
        if was_two_way and circuit.state > InterfaceState.POINT_TO_POINT:
            self._elect(circuit)

    def _reset(self, circuit: Circuit, neighbor: Neighbor) -> None:
        self._instance.timers.cancel(("retransmit", circuit.name, neighbor.key))
        neighbor.summary.clear()
        neighbor.requests.clear()
        neighbor.requested.clear()
        neighbor.retransmit.clear()
        neighbor.last_received = neighbor.last_sent = None

    def _two_way(self, circuit: Circuit, neighbor: Neighbor) -> None:
        self._become(circuit, neighbor, NeighborState.TWO_WAY)
        self._reconsider(circuit, neighbor)

    def _reconsider(self, circuit: Circuit, neighbor: Neighbor) -> None:
        """AdjOK? (10.3)"""
        if circuit.state is InterfaceState.WAITING:
            return
        wanted = circuit.elects(neighbor)
        if neighbor.state is NeighborState.TWO_WAY and wanted:
            self._start_exchange(circuit, neighbor)
        elif neighbor.state > NeighborState.TWO_WAY and not wanted:
            self._reset(circuit, neighbor)
            self._become(circuit, neighbor, NeighborState.TWO_WAY)

    def mismatch(self, circuit: Circuit, neighbor: Neighbor, why: str) -> None:
        """SeqNumberMismatch, BadLSReq"""
        self._instance.notice(circuit, f"exchange with {neighbor.address} begins anew: {why}")
        self._reset(circuit, neighbor)
        self._start_exchange(circuit, neighbor)

    # Database exchange (10.6, 10.8)

    def _start_exchange(self, circuit: Circuit, neighbor: Neighbor) -> None:
        self._become(circuit, neighbor, NeighborState.EX_START)
        self._dd_sequence = (self._dd_sequence + 1) & 0x7FFFFFFF
        neighbor.dd_sequence = self._dd_sequence
        neighbor.is_master = True
        self._describe(circuit, neighbor, DD_INIT | DD_MORE | DD_MASTER)

    def mtu_changed(self, circuit: Circuit) -> None:
        """An exchange that a wrong MTU may have held up begins anew, as our packets tell the MTU."""
        for neighbor in circuit.neighbors.values():
            if neighbor.state in (NeighborState.EX_START, NeighborState.EXCHANGE):
                self._reset(circuit, neighbor)
                self._start_exchange(circuit, neighbor)

    def _describe(self, circuit: Circuit, neighbor: Neighbor, flags: int, count: int = 0) -> None:
        headers, neighbor.summary = tuple(neighbor.summary[:count]), neighbor.summary[count:]
        options = self._instance.area(circuit.area).options
        mtu = min(circuit.interface.mtu, 65535)
        neighbor.last_sent = DatabaseDescription(mtu, options, flags, neighbor.dd_sequence, headers)
        self._resend_description(circuit, neighbor)
        key: TimerKey = ("retransmit", circuit.name, neighbor.key)
        self._instance.timers.start(key, self._instance.now + circuit.config.retransmit_interval)

    def _resend_description(self, circuit: Circuit, neighbor: Neighbor) -> None:
        if neighbor.last_sent is not None:
            to = ALL_ROUTERS if circuit.is_point_to_point else neighbor.address
            self._instance.send(circuit, to, neighbor.last_sent)

    def _describe_more(self, circuit: Circuit, neighbor: Neighbor) -> None:
        count = self._instance.headers_per_packet(circuit, used=8)
        flags = DD_MORE if len(neighbor.summary) > count else 0
        self._describe(circuit, neighbor, flags | (DD_MASTER if neighbor.is_master else 0), count)

    def received_description(self, circuit: Circuit, neighbor: Neighbor, dd: DatabaseDescription) -> None:
        if not circuit.config.mtu_ignore and dd.mtu > circuit.interface.mtu:
            self._instance.notice(
                circuit, f"MTU mismatch: {neighbor.address} has {dd.mtu}, this interface {circuit.interface.mtu}"
            )
            return
        if neighbor.state is NeighborState.INIT:
            self._two_way(circuit, neighbor)
        if neighbor.state is NeighborState.EX_START:
            if not self._negotiate(circuit, neighbor, dd):
                return
        elif neighbor.state < NeighborState.EXCHANGE:
            return
        elif self._is_repeated(neighbor, dd):
            if not neighbor.is_master:
                self._resend_description(circuit, neighbor)
            return
        elif neighbor.state > NeighborState.EXCHANGE:
            self.mismatch(circuit, neighbor, "a new Database Description after the last")
            return
        elif wrong := self._out_of_step(neighbor, dd):
            self.mismatch(circuit, neighbor, wrong)
            return
        neighbor.last_received = dd
        if not self._note_headers(circuit, neighbor, dd):
            return
        if neighbor.is_master:
            sent = neighbor.last_sent
            neighbor.dd_sequence = (neighbor.dd_sequence + 1) & 0xFFFFFFFF
            if sent is not None and not sent.flags & DD_MORE and not dd.flags & DD_MORE:
                self._exchange_done(circuit, neighbor)
                return
            self._describe_more(circuit, neighbor)
        else:
            neighbor.dd_sequence = dd.sequence
            self._describe_more(circuit, neighbor)
            assert neighbor.last_sent is not None
            if not dd.flags & DD_MORE and not neighbor.last_sent.flags & DD_MORE:
                self._exchange_done(circuit, neighbor)
                return
        self.request_more(circuit, neighbor)

    def _negotiate(self, circuit: Circuit, neighbor: Neighbor, dd: DatabaseDescription) -> bool:
        """ExStart: who is master; whether that is settled, so that the packet counts."""
        everything = DD_INIT | DD_MORE | DD_MASTER
        if dd.flags == everything and not dd.headers and neighbor.router > self._instance.router:
            neighbor.is_master = False
            neighbor.dd_sequence = dd.sequence
        elif (
            not dd.flags & (DD_INIT | DD_MASTER)
            and dd.sequence == neighbor.dd_sequence
            and neighbor.router < self._instance.router
        ):
            neighbor.is_master = True
        else:
            return False
        self._instance.timers.cancel(("retransmit", circuit.name, neighbor.key))
        self._summarize(circuit, neighbor)
        self._become(circuit, neighbor, NeighborState.EXCHANGE)
        return True

    def _summarize(self, circuit: Circuit, neighbor: Neighbor) -> None:
        """The Database summary list; LSAs of MaxAge go by flooding instead (10.3, NegotiationDone)."""
        area = self._instance.area(circuit.area)
        now = self._instance.now
        databases = [area.database]
        if area.config.type == "normal":
            databases.append(self._instance.external)
        for database in databases:
            for entry in database:
                age = entry.age_at(now)
                if age >= MAX_AGE:
                    neighbor.retransmit[entry.lsa.key] = entry.lsa
                else:
                    neighbor.summary.append(entry.lsa.header(age))

    def _is_repeated(self, neighbor: Neighbor, dd: DatabaseDescription) -> bool:
        last = neighbor.last_received
        return last is not None and (dd.flags, dd.options, dd.sequence) == (last.flags, last.options, last.sequence)

    def _out_of_step(self, neighbor: Neighbor, dd: DatabaseDescription) -> str:
        if bool(dd.flags & DD_MASTER) == neighbor.is_master:
            return "both or neither of us is master"
        if dd.flags & DD_INIT:
            return "it began anew"
        if neighbor.last_received is not None and dd.options != neighbor.last_received.options:
            return "its options changed"
        expected = neighbor.dd_sequence if neighbor.is_master else (neighbor.dd_sequence + 1) & 0xFFFFFFFF
        if dd.sequence != expected:
            return f"Database Description {dd.sequence} in place of {expected}"
        return ""

    def _note_headers(self, circuit: Circuit, neighbor: Neighbor, dd: DatabaseDescription) -> bool:
        is_stub = self._instance.area(circuit.area).config.type != "normal"
        for header in dd.headers:
            if not ROUTER <= header.type <= EXTERNAL or (is_stub and header.type in (ASBR_SUMMARY, EXTERNAL)):
                self.mismatch(circuit, neighbor, f"it describes an LSA of type {header.type}")
                return False
            entry = self._instance.database(circuit.area, header.type).get(header.key)
            if entry is None or newer(header, entry.lsa.header(entry.age_at(self._instance.now))) > 0:
                neighbor.requests[header.key] = header
        return True

    def _exchange_done(self, circuit: Circuit, neighbor: Neighbor) -> None:
        if neighbor.is_master:
            self._instance.timers.cancel(("retransmit", circuit.name, neighbor.key))
            neighbor.last_sent = None
        if neighbor.requests:
            self._become(circuit, neighbor, NeighborState.LOADING)
            self.request_more(circuit, neighbor)
        else:
            self._become(circuit, neighbor, NeighborState.FULL)
        self._keep_timer(circuit, neighbor)

    def request_more(self, circuit: Circuit, neighbor: Neighbor) -> None:
        """10.9: the next Link State Request when the last one has been answered; Full when nothing is left."""
        if neighbor.state is NeighborState.LOADING and not neighbor.requests:
            self._become(circuit, neighbor, NeighborState.FULL)
        elif neighbor.requests and not neighbor.requested and neighbor.state >= NeighborState.EXCHANGE:
            self._request(circuit, neighbor)

    def _request(self, circuit: Circuit, neighbor: Neighbor) -> None:
        keys = tuple(neighbor.requests)[: circuit.room // 12]
        neighbor.requested = set(keys)
        to = ALL_ROUTERS if circuit.is_point_to_point else neighbor.address
        self._instance.send(circuit, to, LinkStateRequest(keys))
        self._keep_timer(circuit, neighbor)

    def _keep_timer(self, circuit: Circuit, neighbor: Neighbor) -> None:
        if neighbor.requests or neighbor.retransmit:
            when = self._instance.now + circuit.config.retransmit_interval
            self._instance.timers.start(("retransmit", circuit.name, neighbor.key), when)

    def repeat(self, circuit: Circuit, neighbor: Neighbor) -> None:
        """RxmtInterval is over: what the neighbour has not answered is sent again."""
        if neighbor.state is NeighborState.EX_START or (
            neighbor.state is NeighborState.EXCHANGE and neighbor.is_master
        ):
            self._resend_description(circuit, neighbor)
            key: TimerKey = ("retransmit", circuit.name, neighbor.key)
            self._instance.timers.start(key, self._instance.now + circuit.config.retransmit_interval)
        if neighbor.requests and neighbor.state >= NeighborState.EXCHANGE:
            self._request(circuit, neighbor)
        self._keep_timer(circuit, neighbor)
