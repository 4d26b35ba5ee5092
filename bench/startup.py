"""From `weft up` to all three APIs ready, and the memory of Weft's processes when idle; beside dockerd."""

import json
import statistics
import time
from collections.abc import Iterator

from bench import peers
from bench.measure import Row

RUNS = 5
IDLE_SECONDS = 5


def run() -> Iterator[Row]:
    ready, again, memory = [], [], []
    for _ in range(RUNS):
        with peers.weft() as weft:
            ready.append(weft.ready_seconds)
            peers.call(*peers.weft_command(weft.root, "down"))
            began = time.perf_counter()
            peers.call(*peers.weft_command(weft.root, "up", "--detach"))
            again.append(time.perf_counter() - began)
            time.sleep(IDLE_SECONDS)
            state = json.loads((weft.root / "run/weft/weft.json").read_text())
            memory.append(peers.resident_mb(tuple(state[part] for part in ("supervisor", "server", "node"))))
    starts, sizes = [], []
    for _ in range(RUNS):
        with peers.dockerd() as dockerd:
            if dockerd is None:
                break
            starts.append(dockerd.ready_seconds)
            time.sleep(IDLE_SECONDS)
            sizes.append(peers.resident_mb(dockerd.pids))
    theirs = statistics.median(starts) if starts else None
    size = statistics.median(sizes) if sizes else None
    yield Row("up to all three APIs ready, first start", "s", statistics.median(ready), "dockerd", theirs,
              "dockerd serves one API of the three")  # fmt: skip
    yield Row("up to all three APIs ready, later starts", "s", statistics.median(again), "dockerd", theirs)
    yield Row("resident memory, idle", "MB", statistics.median(memory), "dockerd + containerd", size,
              "k3s documents 1,596 MB for a server with a workload")  # fmt: skip
