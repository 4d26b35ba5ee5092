"""`docker run --rm busybox true` to exit, by the docker command on Weft and on dockerd, and by podman."""

import subprocess
from collections.abc import Callable, Iterator

from bench import peers
from bench.measure import Row, interleaved_ms

RUNS = 15


def run() -> Iterator[Row]:
    def docker(env: dict[str, str], *options: str) -> Callable[[], object]:
        return lambda: peers.call("docker", "run", "--rm", *options, peers.BUSYBOX, "/bin/true", env=env)

    with peers.weft() as weft, peers.dockerd() as dockerd, peers.podman() as podman:
        actions = {"weft": docker(weft.env), "weft none": docker(weft.env, "--network", "none")}
        actions["cli"] = lambda: peers.call("docker", "version", env=weft.env)
        if dockerd:
            actions |= {"dockerd": docker(dockerd.env), "dockerd none": docker(dockerd.env, "--network", "none")}
        if podman:
            limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
            command = [*podman, "run", "--rm", *limits, "--network", "none", peers.BUSYBOX, "/bin/true"]
            works = subprocess.run(command, capture_output=True, check=False).returncode == 0
            if works:
                actions["podman none"] = lambda: peers.call(*command)
        times = interleaved_ms(actions, RUNS)
    yield Row("docker run --rm, bridge", "ms", times["weft"], "dockerd", times.get("dockerd"),
              f"of which the docker command itself {times['cli']:.0f} ms (docker version)")  # fmt: skip
    yield Row("docker run --rm, no network", "ms", times["weft none"], "dockerd", times.get("dockerd none"))
    yield Row("docker run --rm, no network", "ms", times["weft none"], "podman run", times.get("podman none"))
