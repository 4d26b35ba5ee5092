"""The main job, narrated: starts Weft, builds and runs a guestbook on it, then a network lab; leaves both running.

    python examples/demo.py [--root DIR]        # without --root: the machine's own Weft; needs root

docker and kubectl are the user's own; where one is missing, docker-py or the kubernetes client does the step.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo_clients import DockerCli, DockerPy, Kubectl, KubernetesPy

HERE = Path(__file__).parent
WEFT = [sys.executable, "-m", "weft.cli.main"]
BOLD, DIM, PLAIN = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


# What docker says of its classic builder each time.
NOISE = (
    "DEPRECATED: The legacy builder",
    "            BuildKit is currently disabled",
    "            environment-variable.",
)


def title(text: str) -> None:
    print(f"\n{BOLD}== {text}{PLAIN}", flush=True)


def run(*argv: str, show: str = "") -> str:
    """Runs a command as a user would type it, prints it and its output, and stops the demo where it fails."""
    print(f"{BOLD}$ {show or shlex.join(argv)}{PLAIN}", flush=True)
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.strip() and not line.startswith(NOISE)]
    print("".join(f"  {line}\n" for line in lines), end="", flush=True)
    if done.returncode != 0:
        sys.exit(f"demo: `{show or shlex.join(argv)}` failed with exit code {done.returncode}")
    return done.stdout


def weft(*arguments: str) -> str:
    return run(*WEFT, *arguments, show=shlex.join(["weft", *arguments]))


def until(what: str, probe: Callable[[], Any], seconds: float = 60) -> Any:
    """The first true answer of `probe`; stops the demo where none comes in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            answer = probe()
        except (OSError, ValueError):
            answer = None
        if answer:
            return answer
        time.sleep(0.1)
    sys.exit(f"demo: waited {seconds:.0f} s in vain for {what}")


def fetch(url: str, data: bytes | None = None) -> Any:
    request = urllib.request.Request(url, data, {"Content-Type": "text/plain"})
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.loads(response.read())


def start() -> None:
    title("Start Weft")
    weft("up", "--detach")
    for line in subprocess.run([*WEFT, "env"], capture_output=True, text=True, check=True).stdout.splitlines():
        name, value = line.removeprefix("export ").split("=", 1)
        os.environ[name] = value
        print(f"  {DIM}{line}{PLAIN}")


def guestbook(root: Path, docker: DockerCli | DockerPy, kube: Kubectl | KubernetesPy) -> tuple[str, str]:
    """Builds, pushes, deploys, scales, breaks, updates and rolls back the guestbook; returns its URL and registry."""
    config = json.loads((root / "etc/weft/config.json").read_text())
    registry = f"localhost:{config['registry_port']}"
    node_port = 30080 if config["node_port_min"] <= 30080 <= config["node_port_max"] else config["node_port_min"] + 80
    manifest = (HERE / "guestbook/guestbook.yaml").read_text()
    manifest = manifest.replace("localhost:5000", registry).replace("nodePort: 30080", f"nodePort: {node_port}")
    url = f"http://127.0.0.1:{node_port}"

    title("Base images, made here from Debian's packages (with the internet: docker pull)")
    weft("image", "bootstrap", "busybox")
    weft("image", "bootstrap", "debian")

    title("Build and push the guestbook")
    for name, folder, version in (
        ("guestbook-redis:v1", "redis", "v1"),
        ("guestbook:v1", "frontend", "v1"),
        ("guestbook:v2", "frontend", "v2"),
    ):
        docker.build(
            HERE / "guestbook" / folder, f"{registry}/{name}", {"VERSION": version} if "redis" not in name else {}
        )
        docker.push(f"{registry}/{name}")

    title("Deploy it")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", prefix="guestbook-") as file:
        file.write(manifest)
        file.flush()
        kube.apply(file.name)
    kube.rollout_status("redis")
    kube.rollout_status("frontend")

    title("Scale the front end to 3")
    kube.scale("frontend", 3)
    kube.rollout_status("frontend")
    kube.get_pods()

    title("Sign the guestbook through the service's node port, read it back from another replica")
    # A new connection each time: the service spreads connections over the replicas.
    entry = f"signed at {time.strftime('%H:%M:%S')}"
    until("the front end", lambda: fetch(f"{url}/entries"))
    posted = fetch(f"{url}/entries", entry.encode())
    print(f"  POST {url}/entries  {entry!r}  taken by {posted['by']}")

    def other() -> Any:
        answer = fetch(f"{url}/entries")
        return answer if answer["served_by"] != posted["by"] and entry in answer["entries"] else None

    print(f"  GET  {url}/entries  {entry!r}  read from {until('another replica', other)['served_by']}")

    title("Kill a front end's container: it is replaced")
    before = kube.restarts("frontend")
    docker.kill_one("k8s_frontend_")
    until("the replacement", lambda: kube.restarts("frontend") > before)
    until("three ready replicas", lambda: kube.ready("frontend") == 3)
    kube.get_pods()

    title("Roll out v2, and roll back")
    kube.set_image("frontend", "frontend", f"{registry}/guestbook:v2")
    kube.rollout_status("frontend")
    print(f"  GET {url}/entries  version {until('v2', lambda: is_version(url, 'v2'))}")
    kube.undo("frontend")
    kube.rollout_status("frontend")
    print(f"  GET {url}/entries  version {until('v1', lambda: is_version(url, 'v1'))}")
    return url, registry


def is_version(url: str, version: str) -> str:
    answers = {fetch(f"{url}/entries")["version"] for _ in range(6)}
    return version if answers == {version} else ""


def lab() -> None:
    title("A network: six routers, four hosts, routes by shortest path first")
    weft(
        "lab",
        "up",
        str(
            (HERE / "labs/ring.yaml").relative_to(Path.cwd())
            if Path.cwd() in HERE.parents or Path.cwd() == HERE.parent
            else HERE / "labs/ring.yaml"
        ),
    )
    first, second, cut = LAB_ENDS
    weft("lab", "ping", first, second, "-c", "3")
    weft("lab", "trace", first, second)
    weft("lab", "cut", cut)
    weft("lab", "ping", first, second, "-c", "3")
    weft("lab", "trace", first, second)


LAB_ENDS = ("h1", "h3", "r1-r2")


def closing(url: str) -> None:
    title("Running now")
    weft("status")
    prefix = "" if "WEFT_ROOT" not in os.environ else f"--root {os.environ['WEFT_ROOT']} "
    command = Path(sys.executable).parent / "weft"
    print(f"""
{BOLD}Go on playing:{PLAIN}
  eval "$({command} {prefix}env)"              # DOCKER_HOST and KUBECONFIG for this shell
  docker ps; docker run --rm busybox echo hello
  kubectl get all; kubectl logs deploy/frontend; kubectl exec -it deploy/frontend -- sh
  {url}/                                        # the guestbook, in a browser
  kubectl get routers,links -o wide
  {command} {prefix}lab status; {command} {prefix}lab restore {LAB_ENDS[2]}
{BOLD}Stop it:{PLAIN}
  {command} {prefix}down                        # leaves nothing running; state stays for the next `weft up`
""")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("demo: needs root, for namespaces, mounts and links")
    if arguments.root:
        os.environ["WEFT_ROOT"] = str(arguments.root.resolve())
    root = Path(os.environ.get("WEFT_ROOT", "/"))
    for name in [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]:
        del os.environ[name]
    began = time.monotonic()
    start()
    docker: DockerCli | DockerPy = DockerCli(run) if shutil.which("docker") else DockerPy()
    kube: Kubectl | KubernetesPy = Kubectl(run) if shutil.which("kubectl") else KubernetesPy()
    for tool, client in (("docker", docker), ("kubectl", kube)):
        if isinstance(client, DockerPy | KubernetesPy):
            print(f"  {tool} is not installed: its steps go through {client.package}")
    url, _ = guestbook(root, docker, kube)
    lab()
    closing(url)
    print(f"the demo took {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
