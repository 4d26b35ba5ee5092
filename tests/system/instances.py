"""A whole Weft for tests, in a root directory of its own, and the clients that talk to it."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from weft.core.ids import short_hash
from weft.core.settings import Settings

WEFT = [sys.executable, "-m", "weft.cli.main"]


@dataclass
class Instance:
    """A running Weft and the environment in which docker and kubectl talk to it."""

    root: Path

    @property
    def settings(self) -> Settings:
        return Settings.load(self.root)

    @property
    def env(self) -> dict[str, str]:
        paths = self.settings.paths
        clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        return clean | {
            "DOCKER_HOST": f"unix://{paths.docker_socket}",
            "KUBECONFIG": str(paths.kubeconfig),
            "DOCKER_CONFIG": str(self.root / "docker"),
            "HOME": str(self.root),
            "WEFT_ROOT": str(self.root),
        }

    @property
    def registry(self) -> str:
        return f"localhost:{self.settings.registry_port}"

    def weft(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(*WEFT, *arguments, check=check)

    def run(
        self, *argv: str, check: bool = True, stdin: str | None = None, timeout: float = 180
    ) -> subprocess.CompletedProcess[str]:
        """Runs a client's command against this instance; its output is shown when it fails."""
        done = subprocess.run(
            argv, env=self.env, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
        if check and done.returncode != 0:
            pytest.fail(f"{' '.join(argv)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}")
        return done

    def docker(self, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        return self.run("docker", *arguments, **options)  # type: ignore[arg-type]

    def kubectl(self, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        return self.run("kubectl", *arguments, **options)  # type: ignore[arg-type]

    def up(self) -> None:
        node_ports = 20000 + int(short_hash(str(self.root), 6), 16) % 90 * 100
        options = ["--api-port", "0", "--registry-port", "0", "--kubelet-port", "0"]
        options += ["--node-port-min", str(node_ports), "--node-port-max", str(node_ports + 99)]
        if (self.root / "etc/weft/config.json").exists():
            options = []
        done = subprocess.run(
            [*WEFT, "--root", str(self.root), "up", "--detach", *options],
            capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self.logs()}"
        assert "weft is up" in done.stdout

    def down(self) -> None:
        done = subprocess.run(
            [*WEFT, "--root", str(self.root), "down", "--time", "2"],
            capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

    def logs(self) -> str:
        text = ""
        for name in ("supervisor", "server", "node"):
            file = self.root / f"var/lib/weft/log/{name}.log"
            if file.exists():
                text += f"--- {name}\n" + "\n".join(file.read_text(errors="replace").splitlines()[-60:]) + "\n"
        return text
