"""DNS for pods and containers: services by name, the rest forwarded to the host's resolvers.

`answer` is the core: a query's bytes and the records to the answer's bytes, or None where the name is not ours. Around
it stands a server for UDP and TCP. Names follow Kubernetes' DNS-based service discovery specification 1.1.0.
"""

import asyncio
import ipaddress
import logging
import random
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dns.message
    import dns.rrset

logger = logging.getLogger(__name__)
TTL = 5
_UDP_SIZE = 512
_FORWARD_SECONDS = 3.0
_TCP_IDLE_SECONDS = 10.0
_MOST_TCP = 128


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


def answer(query: bytes, records: Records, *, limit: int = 65535) -> bytes | None:
    """The answer, at most `limit` bytes (truncated with TC beyond); None where the question is for other resolvers.

    Malformed queries get FORMERR as far as they can be read; what is no query at all gets an empty answer.
    """
    import dns.exception
    import dns.flags
    import dns.message
    import dns.opcode
    import dns.rcode

    if len(query) < 12 or query[2] & 0x80:
        return b""  # nothing to answer to, or an answer itself
    try:
        request = dns.message.from_wire(query)
    except Exception:  # the library raises several kinds on garbage; none of them may end the server
        return query[:2] + struct.pack(">HHHHH", 0x8001, 0, 0, 0, 0)
    response = dns.message.make_response(request, recursion_available=True)
    if request.opcode() != dns.opcode.QUERY or len(request.question) != 1:
        response.set_rcode(dns.rcode.NOTIMP if request.opcode() != dns.opcode.QUERY else dns.rcode.FORMERR)
        return _wire(response, limit)
    if not _fill(request, response, records):
        return None
    response.flags |= dns.flags.AA
    return _wire(response, limit)


def _wire(response: "dns.message.Message", limit: int) -> bytes:
    import dns.exception
    import dns.flags

    try:
        return response.to_wire(max_size=max(limit, _UDP_SIZE))
    except dns.exception.TooBig:
        response.answer.clear()
        response.additional.clear()
        response.flags |= dns.flags.TC
        return response.to_wire()


def _fill(request: "dns.message.Message", response: "dns.message.Message", records: Records) -> bool:
    """Puts what we know into the response; False where the name is not ours."""
    import dns.rcode
    import dns.rdatatype
    import dns.rrset

    question = request.question[0]
    name = question.name.to_text(omit_final_dot=True).lower()
    kind = question.rdtype
    pointer = _reverse(name)
    if pointer is not None:
        target = records.pointers.get(pointer)
        if target is None:
            return False
        if kind in (dns.rdatatype.PTR, dns.rdatatype.ANY):
            response.answer.append(dns.rrset.from_text(question.name, TTL, "IN", "PTR", f"{target}."))
        return True
    known = name in records.addresses or name in records.services
    ours = any(name == domain or name.endswith(f".{domain}") for domain in records.domains)
    if not known and not ours:
        return False
    if kind in (dns.rdatatype.A, dns.rdatatype.ANY) and (found := records.addresses.get(name)):
        order = list(found)
        random.shuffle(order)
        response.answer.append(dns.rrset.from_text(question.name, TTL, "IN", "A", *order))
    if kind in (dns.rdatatype.SRV, dns.rdatatype.ANY) and (targets := records.services.get(name)):
        texts = [f"0 {100 // len(targets) or 1} {port} {target}." for target, port in targets]
        response.answer.append(dns.rrset.from_text(question.name, TTL, "IN", "SRV", *texts))
        for target in dict.fromkeys(target for target, _ in targets):
            if addresses := records.addresses.get(target):
                response.additional.append(dns.rrset.from_text(f"{target}.", TTL, "IN", "A", *addresses))
    if not response.answer:
        domain = next((each for each in records.domains if name == each or name.endswith(f".{each}")), None)
        if not known and not _is_branch(name, records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        if domain is not None:
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


def upstream_resolvers(text: str, own: str) -> tuple[str, ...]:
    """The nameservers of a resolv.conf(5), without ourselves."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and words[1] != own:
            try:
                found.append(str(ipaddress.ip_address(words[1].split("%")[0])))
            except ValueError:
                continue
    return tuple(found[:3])


class DnsServer:
    """Answers on `address`, UDP and TCP; `set_records` replaces what is known at once."""

    def __init__(self, address: str, port: int = 53, *, resolv_conf: Path = Path("/etc/resolv.conf")) -> None:
        self.address, self.port = address, port
        self._resolv_conf = resolv_conf
        self._records = Records()
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._tcp = 0

    def set_records(self, records: Records) -> None:
        self._records = records

    async def start(self) -> None:
        """Raises OSError where the address cannot be had."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Udp(self), local_addr=(self.address, self.port)
        )
        try:
            self._server = await asyncio.start_server(self._serve_tcp, self.address, self.port)
        except OSError:
            self._transport.close()
            raise

    async def stop(self) -> None:
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def received(self, data: bytes, client: tuple[str, int]) -> None:
        """A UDP query."""
        if len(self._tasks) < 1024:  # more at once is an attack or a loop: clients ask again
            task = asyncio.get_running_loop().create_task(self._answer_udp(data, client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer_udp(self, data: bytes, client: tuple[str, int]) -> None:
        reply = await self._resolve(data, udp=True)
        if reply and self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(reply, client)

    async def _resolve(self, data: bytes, *, udp: bool) -> bytes:
        try:
            reply = answer(data, self._records, limit=_payload_size(data) if udp else 65535)
            return reply if reply is not None else await self._forward(data, udp=udp)
        except Exception:
            logger.exception("cannot answer a DNS query")
            return _failure(data)

    async def _forward(self, data: bytes, *, udp: bool) -> bytes:
        """The first answer of the host's resolvers, in their order; SERVFAIL where none answers."""
        try:
            servers = upstream_resolvers(self._resolv_conf.read_text(), self.address)
        except OSError:
            servers = ()
        for server in servers:
            try:
                async with asyncio.timeout(_FORWARD_SECONDS):
                    return await (_ask_udp(server, data) if udp else _ask_tcp(server, data))
            except (TimeoutError, OSError, EOFError):
                continue
        return _failure(data)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tcp += 1
        try:
            while self._tcp <= _MOST_TCP:
                async with asyncio.timeout(_TCP_IDLE_SECONDS):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    data = await reader.readexactly(size)
                reply = await self._resolve(data, udp=False)
                if not reply:
                    break
                writer.write(len(reply).to_bytes(2, "big") + reply)
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._tcp -= 1
            writer.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.received(data, addr)


def _payload_size(query: bytes) -> int:
    """What the client takes by UDP: EDNS(0)'s size if it says one (RFC 6891), else 512."""
    if len(query) < 12 or int.from_bytes(query[10:12], "big") == 0:
        return _UDP_SIZE
    marker = query.rfind(b"\0\0\x29")
    if marker < 0 or marker + 5 > len(query):
        return _UDP_SIZE
    return min(max(int.from_bytes(query[marker + 3 : marker + 5], "big"), _UDP_SIZE), 4096)


def _failure(query: bytes) -> bytes:
    """SERVFAIL with the question."""
    if len(query) < 12:
        return b""
    end = 12
    while end < len(query) and query[end]:
        end += query[end] + 1
    question = query[12 : end + 5]
    return query[:2] + struct.pack(">HHHHH", 0x8182, 1, 0, 0, 0) + question


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
