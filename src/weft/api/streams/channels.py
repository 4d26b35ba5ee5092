"""Streams as channels of one WebSocket: a message's first byte is its channel (kubernetes, `apimachinery` wsstream).

For exec and attach: 0 stdin, 1 stdout, 2 stderr, 3 the final Status as JSON, 4 a terminal's size; in v5, 255 followed
by a channel's number closes that channel (KEP-4006); the first version has an error's text on 3. For port-forward: 2n
the data of the n-th port, 2n+1 its errors, each begun by a message with the port's number, low byte first. SPDY can be
carried in a WebSocket too, as it is.
"""

from collections.abc import Sequence

from weft.core.errors import InvalidError

V1, V4, V5 = "channel.k8s.io", "v4.channel.k8s.io", "v5.channel.k8s.io"
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255

# Subprotocols whose messages are the bytes of a SPDY session. The first is kubectl's (KEP-4006); the second is that of
# our API server, which hands on so to the node what came to it as bare SPDY.
PORT_FORWARD_TUNNEL = "SPDY/3.1+portforward.k8s.io"
COMMAND_TUNNEL = "SPDY/3.1+v4.channel.k8s.io"
PORT_FORWARD_VERSION = "portforward.k8s.io"


def ports_of(values: Sequence[str]) -> list[int]:
    """The ports that a query names, by several parameters or by commas; raises InvalidError."""
    ports = []
    for text in ",".join(values).split(",") if values else []:
        if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
            raise InvalidError(f'"{text}" is not a port: a number from 1 to 65535 is expected')
        ports.append(int(text))
    if len(ports) > 127:
        raise InvalidError("no more than 127 ports can be forwarded at once")
    return ports


def first_messages(index: int, port: int) -> tuple[bytes, bytes]:
    """What begins the data and the errors of the `index`-th port."""
    number = port.to_bytes(2, "little")
    return bytes([2 * index]) + number, bytes([2 * index + 1]) + number
