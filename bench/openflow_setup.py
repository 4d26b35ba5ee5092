"""A switch of sockets alone that sends packet-ins, at most WINDOW unanswered, and counts flow-mods: new flows a second.

In: the port of a controller on the loopback. Out: a rate. Our own side runs as `python -m bench.openflow_setup`,
in a process of its own like the peer's, and prints the port that it listens on.
"""

import asyncio
import socket
import struct
import time
from collections.abc import Iterator

from weft.network.southbound.openflow import OpenFlowServer, Switch, match
from weft.network.southbound.openflow import messages as m
from weft.network.southbound.openflow.actions import ApplyActions, Output
from weft.network.southbound.openflow.codec import encode

WINDOW = 32
_QUIET, _ECHO, _FEATURES, _FLOW_MOD, _MULTIPART, _BARRIER = -1, 2, 5, 14, 18, 20


def _packet_in(number: int) -> bytes:
    """From another host to another each time."""
    frame = (0x020000000000 + number).to_bytes(6) + (0x040000000000 + number).to_bytes(6) + b"\x08\x00" + bytes(50)
    return encode(m.PacketIn(frame, match(in_port=1), 0, 0, 0, len(frame)), number)


def _messages(sock: socket.socket) -> Iterator[tuple[int, int]]:
    """Type and id of each message; -1 when the handshake is over, as nothing comes for a while."""
    data = b""
    sock.settimeout(0.5)
    while True:
        try:
            more = sock.recv(65536)
        except TimeoutError:
            sock.settimeout(20)
            yield _QUIET, 0
            continue
        if not more:
            raise RuntimeError("the controller closed the channel")
        data += more
        at = 0
        while len(data) - at >= 8:
            _, kind, length, xid = struct.unpack_from("!BBHI", data, at)
            if len(data) - at < length:
                break
            yield kind, xid
            at += length
        data = data[at:]


def setups(port: int, count: int) -> float:
    """New flows a second."""
    packets = [_packet_in(number) for number in range(1, count + 1)]
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(encode(m.Hello(), 1))
        sent = answered = 0
        began = 0.0
        for kind, xid in _messages(sock):
            if kind == _FEATURES:
                sock.sendall(encode(m.Features(0x77, 0, 254), xid))
            elif kind == _ECHO:
                sock.sendall(encode(m.EchoReply(), xid))
            elif kind == _BARRIER:
                sock.sendall(encode(m.BarrierReply(), xid))
            elif kind == _MULTIPART:
                sock.sendall(encode(m.Multipart(13, ()), xid))
            elif kind == _FLOW_MOD:
                answered += 1
            elif kind == _QUIET:
                if began:
                    raise RuntimeError(f"the controller answered {answered} of {sent} packets")
                began = time.perf_counter()
            if began and sent - answered <= WINDOW // 2 and sent < count:
                more = packets[sent : sent + WINDOW - (sent - answered)]
                sock.sendall(b"".join(more))
                sent += len(more)
            if answered == count:
                return count / (time.perf_counter() - began)
    raise AssertionError


class _Learner:
    def connected(self, switch: Switch) -> None: ...

    def received(self, switch: Switch, message: m.Message) -> None:
        if isinstance(message, m.PacketIn):
            port = message.match.get("in_port") or 0
            out = (Output(2),)
            found = match(in_port=port, eth_dst=message.data[:6])
            switch.send(m.FlowMod(found, (ApplyActions(out),), priority=9))
            switch.send(m.PacketOut(message.data, out, port))

    def disconnected(self, switch: Switch, cause: str) -> None: ...


async def _serve() -> None:
    server = OpenFlowServer(_Learner())
    await server.listen(("127.0.0.1", 0))
    print(server.port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve())  # as Weft's own processes do
