"""From `kubectl apply` of a Deployment of one replica to the rollout's end, the image being present.

No peer with a Kubernetes API can be installed beside it here, so the row has the published figures of kind and k3s
for a whole cluster's start as its note only.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator

from bench import peers
from bench.measure import Row

RUNS = 10
MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: bench-{number}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: bench-{number}}}}}
  template:
    metadata: {{labels: {{app: bench-{number}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{{name: main, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, "1000"]}}]
"""


def run() -> Iterator[Row]:
    times = []
    with peers.weft() as weft:
        for number in range(RUNS + 1):
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                file.write(MANIFEST.format(number=number))
                file.flush()
                began = time.perf_counter()
                peers.call("kubectl", "apply", "-f", file.name, env=weft.env)
                peers.call("kubectl", "rollout", "status", f"deployment/bench-{number}", env=weft.env)
                if number:
                    times.append((time.perf_counter() - began) * 1000)
            peers.call("kubectl", "delete", f"deployment/bench-{number}", "--wait=false", env=weft.env)
    yield Row("kubectl apply of 1 replica to Ready", "ms", statistics.median(times),
              note="two kubectl commands included; Kubernetes' objective for a pod's start is 5 s (p99)")  # fmt: skip
