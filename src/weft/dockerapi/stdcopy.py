"""Docker's framing of stdout and stderr on one connection: 1 or 2, three zeros, the length, the data. Pure.

Docker Engine API reference, "Attach to a container", "Stream format".
"""

import struct
from typing import Literal

_NUMBERS = {"stdout": 1, "stderr": 2}


def frame(stream: Literal["stdout", "stderr"], data: bytes) -> bytes:
    return struct.pack(">BxxxL", _NUMBERS[stream], len(data)) + data
