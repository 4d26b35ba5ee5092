"""Taking an HTTP connection over: attach and exec speak raw bytes on it, in both directions, half-close included.

Docker Engine API reference, "Hijacking": the answer is 101 where the client asked for `Upgrade: tcp`, else 200.
"""

from aiohttp import web

from weft.core.upgraded import UpgradedStream, take_over

RAW, MULTIPLEXED = "application/vnd.docker.raw-stream", "application/vnd.docker.multiplexed-stream"


def hijack(request: web.Request, content_type: str) -> UpgradedStream:
    """Answers and takes over. The body, if any, must have been read."""
    if request.headers.get("Upgrade"):
        head = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
    else:
        head = "HTTP/1.1 200 OK\r\n"
    return take_over(request, f"{head}Content-Type: {content_type}\r\n")
