"""Questions to the control sockets of FRR's daemons and of BIRD: without a process for each, as vtysh and birdc are.

In: a socket's path and a command. Out: the text of the answer; OSError where nobody answers in time.
"""

import re
import socket
from pathlib import Path

_SECONDS = 2.0
_MOST = 1 << 22
# A line that ends an answer: four digits and a space; with a dash there is more to come (BIRD's `doc/reply_codes`).
_BIRD_END = re.compile(rb"(?:^|\n)\d{4} [^\n]*\n$")


def ask_frr(path: Path, command: str) -> str:
    """FRR ends an answer with three zero bytes and a status (`lib/vty.c`, as vtysh is answered)."""
    with _connect(path) as opened:
        for each in ("enable", command):
            opened.sendall(each.encode() + b"\0")
            answer = b""
            while len(answer) < 4 or answer[-4:-1] != bytes(3):
                answer += _more(opened, answer)
    return answer[:-4].decode(errors="replace")


def ask_bird(path: Path, command: str) -> str:
    with _connect(path) as opened:
        greeting = b""
        while not _BIRD_END.search(greeting):
            greeting += _more(opened, greeting)
        opened.sendall(command.encode() + b"\n")
        answer = b""
        while not _BIRD_END.search(answer):
            answer += _more(opened, answer)
    return answer.decode(errors="replace")


def _connect(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(_SECONDS)
    try:
        made.connect(str(path))
    except OSError:
        made.close()
        raise
    return made


def _more(opened: socket.socket, so_far: bytes) -> bytes:
    if not (data := opened.recv(65536)) or len(so_far) > _MOST:
        raise OSError("the answer has no end")
    return data
