"""The flooding procedure (RFC 2328, 13): newer LSAs go to all but who sent them, until each neighbour acknowledges.

In: Link State Updates and Acknowledgements, LSAs of our own. Out: updates and acknowledgements to send, changes of the
databases. `changed` is called with what makes routes old, `own_returned` with LSAs of ours that are newer than ours,
`mismatch` where an exchange must begin anew, `buried` when an LSA of MaxAge is forgotten.
"""

from collections.abc import Callable
from ipaddress import IPv4Address

from weft.network.routing.ospf.database import Database, Entry
from weft.network.routing.ospf.lsa import (
    EXTERNAL,
    MAX_AGE,
    MAX_SEQUENCE,
    NETWORK,
    Key,
    Lsa,
    LsaHeader,
    compare,
)
from weft.network.routing.ospf.packet import LinkStateAck, LinkStateRequest, LinkStateUpdate
from weft.network.routing.ospf.state import (
    ALL_DESIGNATED,
    ALL_ROUTERS,
    Circuit,
    Instance,
    InterfaceState,
    Neighbor,
    NeighborState,
)


class Flooding:
    def __init__(
        self,
        instance: Instance,
        changed: Callable[[int, int], None],
        own_returned: Callable[[int, Entry], None],
        mismatch: Callable[[Circuit, Neighbor, str], None],
        buried: Callable[[], None],
    ) -> None:
        self._instance = instance
        self._changed = changed
        self._own_returned = own_returned
        self._mismatch = mismatch
        self._buried = buried
        self._dying: set[tuple[int, Key]] = set()  # MaxAge LSAs that wait for acknowledgements

    def update(self, circuit: Circuit, sender: Neighbor, update: LinkStateUpdate) -> None:
        """13: a Link State Update has come."""
        if sender.state < NeighborState.EXCHANGE:
            return
        for text in update.refused:
            self._instance.notice(circuit, f"LSA refused: {text}")
        direct: list[tuple[int, Lsa]] = []
        answers: list[Lsa] = []
        for age, lsa in update.lsas:
            if lsa.type == EXTERNAL and self._instance.area(circuit.area).config.type != "normal":
                continue
            if not self._receive(circuit, sender, age, lsa, direct, answers):
                break
        self._acknowledge(circuit, self._to(circuit, sender), direct)
        if answers:
            self._instance.send_lsas(circuit, self._to(circuit, sender), answers)

    def _receive(
        self,
        circuit: Circuit,
        sender: Neighbor,
        age: int,
        lsa: Lsa,
        direct: list[tuple[int, Lsa]],
        answers: list[Lsa],
    ) -> bool:
        """One LSA of an update; False where the adjacency begins anew."""
        instance = self._instance
        database = instance.database(circuit.area, lsa.type)
        entry = database.get(lsa.key)
        if age >= MAX_AGE and entry is None and not instance.is_exchanging():
            direct.append((age, lsa))  # step 4
            return True
        order = 1
        if entry is not None:
            order = compare(lsa, age, entry.lsa, entry.age_at(instance.now))
        if order > 0:
            if entry is not None and entry.flooded and instance.now - entry.installed < instance.config.min_ls_arrival:
                return True  # step 5a: not acknowledged, so it comes again
            area = circuit.area
            self.forget(area, lsa.key)
            # What we asked for did not come by flooding, and the next instance may follow at once.
            by_flooding = lsa.key not in sender.requests
            installed = self._install(database, area, lsa, age, entry, flooded=by_flooding)
            back = self._flood(area, lsa, circuit, sender)
            is_backup = circuit.state is InterfaceState.BACKUP
            if not back and (not is_backup or int(sender.address) == circuit.designated):
                self._delay_ack(circuit, age, lsa)
            if self._is_own(lsa):
                self._own_returned(area, installed)
            return True
        if lsa.key in sender.requests:
            self._mismatch(circuit, sender, "it answered a request with an LSA that is no newer")  # step 6
            return False
        assert entry is not None
        if order == 0:
            if sender.retransmit.get(lsa.key) is entry.lsa:
                del sender.retransmit[lsa.key]  # step 7a: an implied acknowledgement
                if circuit.state is InterfaceState.BACKUP and int(sender.address) == circuit.designated:
                    self._delay_ack(circuit, age, lsa)
            else:
                direct.append((age, lsa))
            return True
        if entry.age_at(instance.now) >= MAX_AGE and entry.lsa.sequence == MAX_SEQUENCE:
            return True  # step 8: the sequence number is about to wrap
        if instance.now - entry.sent >= instance.config.min_ls_arrival:
            entry.sent = instance.now
            answers.append(entry.lsa)
        return True

    def _is_own(self, lsa: Lsa) -> bool:
        """13.4: by its advertising router, or a network-LSA for an address of ours."""
        if lsa.router == self._instance.router:
            return True
        return lsa.type == NETWORK and any(
            int(circuit.address.ip) == lsa.id for circuit in self._instance.circuits.values() if circuit.interface.up
        )

    def _install(self, database: Database, area: int, lsa: Lsa, age: int, old: Entry | None, *, flooded: bool) -> Entry:
        entry = database.install(lsa, age, self._instance.now, flooded=flooded)
        if age >= MAX_AGE:
            self._dying.add((area, lsa.key))
        else:
            self._instance.timers.start(("age", "", 0), database.earliest_expiry)
        was = old is not None and old.age_at(self._instance.now) < MAX_AGE
        if old is None or was != (age < MAX_AGE) or old.lsa.raw[18:] != lsa.raw[18:]:
            self._changed(area, lsa.type)
        return entry

    def originate(self, area: int, lsa: Lsa) -> None:
        """Installs and floods a new instance of our own."""
        database = self._instance.database(area, lsa.type)
        old = database.get(lsa.key)
        self.forget(area, lsa.key)
        self._install(database, area, lsa, 0, old, flooded=False)
        self._flood(area, lsa, None, None)

    def flush(self, area: int, entry: Entry) -> None:
        """14.1: out of the domain with it, before its time."""
        lsa = entry.lsa
        database = self._instance.database(area, lsa.type)
        old = Entry(lsa, entry.age, entry.installed)
        self.forget(area, lsa.key)
        self._install(database, area, lsa, MAX_AGE, old, flooded=False)
        self._flood(area, lsa, None, None)

    def expire(self) -> None:
        """14: what has come to MaxAge by itself is flushed, whoever made it."""
        instance = self._instance
        next_expiry = float("inf")
        for area, database in [
            *((each, state.database) for each, state in instance.areas.items()),
            (-1, instance.external),
        ]:
            if database.earliest_expiry <= instance.now:
                for entry in database.expire(instance.now):
                    self._dying.add((area, entry.lsa.key))
                    self._changed(area, entry.lsa.type)
                    self._flood(area, entry.lsa, None, None)
            next_expiry = min(next_expiry, database.earliest_expiry)
        if next_expiry < float("inf"):
            instance.timers.set(("age", "", 0), next_expiry)

    def forget(self, area: int, key: Key) -> None:
        """Takes an older instance off all retransmission lists (13, step 5c)."""
        for circuit in self._circuits(area, key[0]):
            circuit.floods.pop(key, None)
            for neighbor in circuit.neighbors.values():
                neighbor.retransmit.pop(key, None)

    def _circuits(self, area: int, kind: int) -> list[Circuit]:
        return self._instance.circuits_of(None if kind == EXTERNAL else area)

    def _flood(self, area: int, lsa: Lsa, origin: Circuit | None, sender: Neighbor | None) -> bool:
        """13.3; whether it went back out of the interface that it came by."""
        back = False
        for circuit in self._circuits(area, lsa.type):
            wanted = False
            for neighbor in circuit.neighbors.values():
                if neighbor.state < NeighborState.EXCHANGE:
                    continue
                if neighbor.requests and (request := neighbor.requests.get(lsa.key)) is not None:
                    order = compare(lsa, 0, request, request.age)
                    if order >= 0:
                        del neighbor.requests[lsa.key]
                        neighbor.requested.discard(lsa.key)
                    if order <= 0:
                        continue
                if neighbor is sender:
                    continue
                neighbor.retransmit[lsa.key] = lsa
                self.await_answer(circuit, neighbor)
                wanted = True
            if not wanted:
                continue
            if (
                circuit is origin
                and sender is not None
                and not circuit.is_point_to_point
                and (
                    int(sender.address) in (circuit.designated, circuit.backup)
                    or circuit.state is InterfaceState.BACKUP
                )
            ):
                continue
            circuit.floods[lsa.key] = lsa
            back = back or circuit is origin
        return back

    def await_answer(self, circuit: Circuit, neighbor: Neighbor) -> None:
        """What was sent to the neighbour is sent again after RxmtInterval."""
        when = self._instance.now + circuit.config.retransmit_interval
        self._instance.timers.start(("retransmit", circuit.name, neighbor.key), when)

    def retransmit(self, circuit: Circuit, neighbor: Neighbor) -> None:
        """13.6: about a packet's worth, oldest first, to this neighbour alone."""
        lsas: list[Lsa] = []
        room = 4 * circuit.room
        for lsa in neighbor.retransmit.values():
            room -= lsa.length
            if room < 0 and lsas:
                break
            lsas.append(lsa)
        self._instance.send_lsas(circuit, neighbor.address, lsas)

    def acknowledgement(self, circuit: Circuit, neighbor: Neighbor, ack: LinkStateAck) -> None:
        """13.7"""
        if neighbor.state < NeighborState.EXCHANGE:
            return
        for header in ack.headers:
            lsa = neighbor.retransmit.get(header.key)
            if lsa is None:
                continue
            entry = self._instance.database(circuit.area, lsa.type).get(header.key)
            age = entry.age_at(self._instance.now) if entry is not None and entry.lsa is lsa else 0
            if compare(header, header.age, lsa, age) == 0:
                del neighbor.retransmit[header.key]

    def request(self, circuit: Circuit, neighbor: Neighbor, request: LinkStateRequest) -> None:
        """10.7: a Link State Request is answered directly."""
        if neighbor.state < NeighborState.EXCHANGE:
            return
        lsas = []
        for key in request.keys:
            entry = self._instance.database(circuit.area, key[0]).get(key)
            if entry is None:
                self._mismatch(circuit, neighbor, "it requested an LSA that is not in the database")
                return
            lsas.append(entry.lsa)
        self._instance.send_lsas(circuit, self._to(circuit, neighbor), lsas)

    def _to(self, circuit: Circuit, neighbor: Neighbor) -> IPv4Address:
        return ALL_ROUTERS if circuit.is_point_to_point else neighbor.address

    def _everyone(self, circuit: Circuit) -> IPv4Address:
        to_all = circuit.is_point_to_point or circuit.state in (InterfaceState.DR, InterfaceState.BACKUP)
        return ALL_ROUTERS if to_all else ALL_DESIGNATED

    def _acknowledge(self, circuit: Circuit, to: IPv4Address, lsas: list[tuple[int, Lsa]]) -> None:
        if lsas:
            headers = [lsa.header(age) for age, lsa in lsas]
            self._send_acks(circuit, to, headers)

    def _delay_ack(self, circuit: Circuit, age: int, lsa: Lsa) -> None:
        """13.5: acknowledgements are put together; well below the neighbours' RxmtInterval."""
        circuit.acks.append(lsa.header(age))
        delay = min(0.5, circuit.config.retransmit_interval / 4)
        self._instance.timers.start(("ack", circuit.name, 0), self._instance.now + delay)

    def send_delayed_acks(self, circuit: Circuit) -> None:
        headers, circuit.acks = circuit.acks, []
        if circuit.state >= InterfaceState.WAITING:
            self._send_acks(circuit, self._everyone(circuit), headers)

    def _send_acks(self, circuit: Circuit, to: IPv4Address, headers: list[LsaHeader]) -> None:
        size = self._instance.headers_per_packet(circuit)
        for start in range(0, len(headers), size):
            self._instance.send(circuit, to, LinkStateAck(tuple(headers[start : start + size])))

    def finish(self) -> None:
        """At the end of each event: sends what is to be flooded, forgets MaxAge LSAs that all have acknowledged.

        The first LSA leaves at once; those that come within the pacing time after it leave together.
        """
        instance = self._instance
        for circuit in instance.circuits.values():
            if circuit.floods:
                due = circuit.flooded + instance.config.flood_pacing
                if instance.now < due and not instance.is_stopping:
                    instance.timers.start(("flood", circuit.name, 0), due)
                    continue
                circuit.flooded = instance.now
                lsas, circuit.floods = list(circuit.floods.values()), {}
                self._instance.send_lsas(circuit, self._everyone(circuit), lsas)
        if self._dying:
            self._bury()

    def _bury(self) -> None:
        if self._instance.is_exchanging():
            return
        for area, key in list(self._dying):
            database = self._instance.database(area, key[0])
            entry = database.get(key)
            if entry is None or entry.age_at(self._instance.now) < MAX_AGE:
                self._dying.discard((area, key))
            elif not any(
                key in neighbor.retransmit
                for circuit in self._circuits(area, key[0])
                for neighbor in circuit.neighbors.values()
            ):
                self._dying.discard((area, key))
                database.remove(key)
                self._buried()
