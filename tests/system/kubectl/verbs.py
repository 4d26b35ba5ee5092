"""kubectl in a namespace of the test's own, for the tests of its verbs."""

import json
import subprocess
from typing import Any

from weft.testing.cluster import Cluster


class Kubectl:
    """Call it with arguments: stdout comes back; `fails` for what must fail: stderr comes back."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace

    def run(self, *arguments: str, check: bool = True, **options: Any) -> "subprocess.CompletedProcess[str]":
        return self.cluster.kubectl("-n", self.namespace, *arguments, check=check, **options)

    def __call__(self, *arguments: str, **options: Any) -> str:
        return self.run(*arguments, **options).stdout

    def fails(self, *arguments: str, **options: Any) -> str:
        done = self.run(*arguments, check=False, **options)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def get(self, *arguments: str) -> Any:
        return json.loads(self("get", *arguments, "-o", "json"))

    def path(self, what: str, path: str) -> str:
        return self("get", what, "-o", f"jsonpath={{{path}}}")
