"""Containers by docker-py, unchanged: pull an image, run it with a published port, and run one to its end.

eval "$(weft env)"; python examples/docker_run.py IMAGE        # such as localhost:5000/busybox:latest
"""

import sys
import urllib.request

import docker


def run_container(name: str, ports: dict[str, int | None]) -> None:
    client = docker.from_env()
    client.images.pull(name)
    container = client.containers.run(
        name,
        ["sh", "-c", "echo hello from $(hostname) > /index.html && exec httpd -f -p 80 -h /"],
        ports=ports,
        detach=True,
    )
    try:
        container.reload()
        port = container.ports["80/tcp"][0]["HostPort"]
        for _ in range(50):
            try:
                answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/index.html", timeout=5).read()
                break
            except OSError:
                container.reload()
        else:
            sys.exit(f"nothing answers on port {port}: {container.logs().decode()}")
        print(f"detached: {container.short_id} answers on port {port}: {answer.decode().strip()}")
    finally:
        container.remove(force=True)
    output = client.containers.run(name, ["echo", "hello from the foreground"], ports=ports, remove=True)
    print(f"foreground: {output.decode().strip()}")


if __name__ == "__main__":
    run_container(sys.argv[1] if len(sys.argv) > 1 else "busybox", {"80/tcp": None})
