"""DNS for pods and containers: services by name, the rest forwarded to the host's resolvers.

`answer` is the core: from a query's bytes and the records to the answer's bytes, or None where the name is not ours.
Around it stands a server for UDP and TCP. Names follow Kubernetes' DNS-based service discovery specification 1.1.0.
"""

import asyncio
import errno
import importlib
import ipaddress
import logging
import random
import socket
import struct
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from weft.core.errors import ConflictError, UnavailableError
from weft.core.settings import Settings

if TYPE_CHECKING:
    import dns.message
    import dns.rrset

logger = logging.getLogger(__name__)
TTL = 5
_HEADER = 12
_UDP_SIZE, _MOST_UDP, _MOST_TCP_SIZE = 512, 1232, 65535
_FORMERR, _SERVFAIL = 1, 2
_FORWARD_SECONDS = 3.0
_TCP_IDLE_SECONDS = 10.0
_MOST_TCP, _MOST_UDP_TASKS = 128, 1024


@dataclass(frozen=True, slots=True)
class Records:
    """What is known: names in lower case without the final dot, under `domain` or not.

    `addresses`: name to IPv4 addresses; `services`: SRV name to (target, port) pairs; `pointers`: address to name.
    `domains` are those for which we alone answer: a name below them that is not known does not exist.
    """

    domains: tuple[str, ...] = ("cluster.local",)
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    services: Mapping[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    pointers: Mapping[str, str] = field(default_factory=dict)


class NotAnswerable(Exception):
    """What came is no query: it gets no answer at all."""


def answer(query: bytes, records: Records, *, udp: bool) -> bytes | None:
    """The answer, over UDP cut to what the client takes (TC set); None where the question is for other resolvers.

    Malformed queries get FORMERR. Raises NotAnswerable, and nothing else, whatever the bytes.
    """
    import dns.flags
    import dns.message
    import dns.opcode
    import dns.rcode

    if len(query) < _HEADER or query[2] & 0x80:
        raise NotAnswerable  # nothing to answer to, or itself an answer: two servers must not talk for ever
    try:
        request = dns.message.from_wire(query)
        response = dns.message.make_response(request, recursion_available=True)
    except Exception:  # the library raises several kinds on garbage; none of them may end the server
        return _bare(query, _FORMERR)
    if request.opcode() != dns.opcode.QUERY:
        response.set_rcode(dns.rcode.NOTIMP)
    elif len(request.question) != 1:
        response.set_rcode(dns.rcode.FORMERR)
    elif not _fill(request, response, records):
        return None
    else:
        response.flags |= dns.flags.AA
    # Without EDNS(0) a client takes 512 bytes (RFC 1035, 4.2.1), with it what it says (RFC 6891, 6.2.3).
    limit = min(max(request.payload, _UDP_SIZE), _MOST_UDP) if request.edns >= 0 else _UDP_SIZE
    return _wire(response, limit if udp else _MOST_TCP_SIZE)


def _wire(response: "dns.message.Message", limit: int) -> bytes:
    import dns.exception
    import dns.flags

    try:
        return response.to_wire(max_size=limit)
    except dns.exception.TooBig:
        response.additional.clear()  # a kindness only
    try:
        return response.to_wire(max_size=limit)
    except dns.exception.TooBig:
        response.answer.clear()
        response.authority.clear()
        response.flags |= dns.flags.TC
        return response.to_wire()


def _fill(request: "dns.message.Message", response: "dns.message.Message", records: Records) -> bool:
    """Puts what we know into the response; False where the name is not ours."""
    import dns.rcode
    import dns.rdataclass
    import dns.rdatatype
    import dns.rrset

    question = request.question[0]
    name = question.name.to_text(omit_final_dot=True).lower()
    kind = question.rdtype
    domain = next((each for each in records.domains if name == each or name.endswith(f".{each}")), None)
    pointer = records.pointers.get(_reverse(name) or "")
    known = pointer is not None or name in records.addresses or name in records.services
    if not known and domain is None:
        return False
    if question.rdclass != dns.rdataclass.IN or kind in (dns.rdatatype.AXFR, dns.rdatatype.IXFR):
        response.set_rcode(dns.rcode.REFUSED)
        return True
    any_kind = kind == dns.rdatatype.ANY
    if pointer is not None and (any_kind or kind == dns.rdatatype.PTR):
        response.answer.append(dns.rrset.from_text(question.name, TTL, "IN", "PTR", f"{pointer}."))
    if (any_kind or kind == dns.rdatatype.A) and (found := records.addresses.get(name)):
        order = list(found)
        random.shuffle(order)
        response.answer.append(dns.rrset.from_text(question.name, TTL, "IN", "A", *order))
    if (any_kind or kind == dns.rdatatype.SRV) and (targets := records.services.get(name)):
        texts = [f"0 {100 // len(targets) or 1} {port} {target}." for target, port in targets]
        response.answer.append(dns.rrset.from_text(question.name, TTL, "IN", "SRV", *texts))
        for target in dict.fromkeys(target for target, _ in targets):
            if addresses := records.addresses.get(target):
                response.additional.append(dns.rrset.from_text(f"{target}.", TTL, "IN", "A", *addresses))
    if not response.answer:
        if not known and not _is_branch(name, records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        if domain is not None:  # so that the client may keep the "no" for as long (RFC 2308)
            soa = f"ns.dns.{domain}. hostmaster.{domain}. 1 7200 1800 86400 {TTL}"
            response.authority.append(dns.rrset.from_text(f"{domain}.", TTL, "IN", "SOA", soa))
    return True


def _is_branch(name: str, records: Records) -> bool:
    """An empty non-terminal: names are below it, so it exists (RFC 8020)."""
    ending = f".{name}"
    return name in records.domains or any(
        each.endswith(ending) for table in (records.addresses, records.services) for each in table
    )


def _reverse(name: str) -> str | None:
    labels = name.split(".")
    if labels[-2:] != ["in-addr", "arpa"] or len(labels) != 6:
        return None
    try:
        return str(ipaddress.IPv4Address(".".join(reversed(labels[:4]))))
    except ValueError:
        return None


def upstream_resolvers(text: str, own: Collection[str]) -> tuple[str, ...]:
    """The nameservers of a resolv.conf(5), without ourselves."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and words[1] not in own:
            try:
                found.append(str(ipaddress.ip_address(words[1])))
            except ValueError:
                continue
    return tuple(found[:3])


def reverse_domains(subnet: str) -> tuple[str, ...]:
    """The domains of a subnet's pointers, by whole bytes: `64.10.in-addr.arpa` of 10.64.0.0/16 (RFC 1035, 3.5)."""
    network = ipaddress.IPv4Network(subnet)
    count = -(-network.prefixlen // 8)
    parts = network.subnets(new_prefix=count * 8)
    labels = (str(part.network_address).split(".")[:count] for part in parts)
    return tuple(".".join([*reversed(each), "in-addr.arpa"]) for each in labels)


class DnsServer:
    """Answers on `address`, UDP and TCP; `set_records` replaces what is known at once.

    `aliases` are further addresses that lead here: none of all these is asked as an upstream resolver. Names below
    `domains` are never forwarded, whatever the records say. Until there are records, all of them get SERVFAIL.
    """

    def __init__(
        self,
        address: str,
        port: int = 53,
        *,
        resolv_conf: Path = Path("/etc/resolv.conf"),
        aliases: Collection[str] = (),
        domains: Collection[str] = (),
    ) -> None:
        self.address, self.port = address, port
        self._resolv_conf = resolv_conf
        self._own = frozenset({address, *aliases})
        self._domains = tuple(domains)
        self._records: Records | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[asyncio.Task[None]] = set()

    def set_records(self, records: Records) -> None:
        self._records = replace(records, domains=(*records.domains, *self._domains))

    async def start(self) -> None:
        """Raises ConflictError where the address is taken, UnavailableError where it cannot be had."""
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for each in (udp, tcp):
                each.setblocking(False)
                each.bind((self.address, self.port))
        except OSError as error:
            udp.close()
            tcp.close()
            kind = ConflictError if error.errno == errno.EADDRINUSE else UnavailableError
            raise kind(f"cannot serve DNS at {self.address}:{self.port}: {error.strerror}") from error
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), sock=udp)
        self._server = await asyncio.start_server(self._serve_tcp, sock=tcp)

    async def stop(self) -> None:
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
        tasks = [*self._tasks, *self._connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def received(self, data: bytes, client: tuple[str, int]) -> None:
        """A UDP query."""
        if len(self._tasks) < _MOST_UDP_TASKS:  # more at once is an attack or a loop: clients ask again
            task = asyncio.get_running_loop().create_task(self._answer_udp(data, client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer_udp(self, data: bytes, client: tuple[str, int]) -> None:
        try:
            reply = await self._resolve(data, udp=True)
        except NotAnswerable:
            return
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(reply, client)

    async def _resolve(self, data: bytes, *, udp: bool) -> bytes:
        if "dns.message" not in sys.modules:  # a fifth of a second, once, that must not hold up the loop
            await asyncio.to_thread(importlib.import_module, "dns.message")
        try:
            reply = answer(data, self._records or Records(domains=self._domains), udp=udp)
            if reply is None:
                return await self._forward(data, udp=udp)
            if self._records is None:  # "no such name" would be believed, "ask again" is true
                return _bare(data, _SERVFAIL)
            return reply
        except NotAnswerable:
            raise
        except Exception:  # records that make no message: somebody's mistake, but not this client's
            logger.exception("cannot answer a DNS query")
            return _bare(data, _SERVFAIL)

    async def _forward(self, data: bytes, *, udp: bool) -> bytes:
        """The first answer of the host's resolvers, in their order; SERVFAIL where none answers."""
        try:
            servers = upstream_resolvers(self._resolv_conf.read_text(), self._own)
        except OSError:
            servers = ()
        for server in servers:
            try:
                async with asyncio.timeout(_FORWARD_SECONDS):
                    return await (_ask_udp(server, data) if udp else _ask_tcp(server, data))
            except (TimeoutError, OSError, EOFError):
                continue
        return _bare(data, _SERVFAIL)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while len(self._connections) <= _MOST_TCP:
                async with asyncio.timeout(_TCP_IDLE_SECONDS):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    data = await reader.readexactly(size)
                reply = await self._resolve(data, udp=False)
                writer.write(len(reply).to_bytes(2, "big") + reply)
                async with asyncio.timeout(_TCP_IDLE_SECONDS):
                    await writer.drain()
        except (TimeoutError, EOFError, OSError, NotAnswerable, asyncio.CancelledError):
            pass  # cancelled only by `stop`; the connection ends either way
        finally:
            self._connections.discard(task)
            writer.close()


def server(settings: Settings) -> DnsServer:
    """The instance's DNS server, at the bridge's address; the table leads the DNS service's address there."""
    reverse = reverse_domains(settings.pod_subnet) + reverse_domains(settings.service_subnet)
    return DnsServer(
        settings.gateway, aliases=(settings.dns_service_address,), domains=(settings.cluster_domain, *reverse)
    )


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.received(data, addr)


def _bare(query: bytes, code: int) -> bytes:
    """An answer without sections to a query that cannot be read, or not be answered: its id and opcode, and a code."""
    flags = 0x8080 | (query[2] & 0x79) << 8 | code
    return query[:2] + struct.pack(">HHHHH", flags, 0, 0, 0, 0)


class _Reply(asyncio.DatagramProtocol):
    def __init__(self, query_id: bytes) -> None:
        self._id = query_id
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data[:2] == self._id and not self.reply.done():
            self.reply.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(exc)


async def _ask_udp(server: str, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: _Reply(data[:2]), remote_addr=(server, 53))
    try:
        transport.sendto(data)
        return await protocol.reply
    finally:
        transport.close()


async def _ask_tcp(server: str, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server, 53)
    try:
        writer.write(len(data).to_bytes(2, "big") + data)
        return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    finally:
        writer.close()
