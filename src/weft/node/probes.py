"""When a container is probed, and what the results come to. No input or output; time is a parameter.

`Probe` is one probe's settings, `Machine` counts its results, `Checks` puts a container's three together: no others
until the startup probe has succeeded. Source: kubernetes `pkg/kubelet/prober/worker.go`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from weft.node.pods.model import Health

# While a container is not ready it may be asked more often than its period says ("This is to make the Pod ready
# faster", kubernetes.io, "Configure Liveness, Readiness and Startup Probes"): after 0.05 s, then twice as long each.
_EAGER_FIRST = 0.05


class Kind(StrEnum):
    STARTUP = "startup"
    LIVENESS = "liveness"
    READINESS = "readiness"

    @property
    def word(self) -> str:
        """As events begin: `Readiness probe failed: ...`."""
        return self.value.capitalize()


@dataclass(frozen=True, slots=True)
class Probe:
    """A v1.Probe; `handler` is its exec, httpGet, tcpSocket or grpc as it stands."""

    kind: Kind
    handler: Mapping[str, Any]
    initial_delay: float = 0
    period: float = 10
    timeout: float = 1
    success_threshold: int = 1
    failure_threshold: int = 3

    @classmethod
    def read(cls, kind: Kind, value: Mapping[str, Any]) -> "Probe":
        return cls(
            kind,
            {key: value[key] for key in ("exec", "httpGet", "tcpSocket", "grpc") if value.get(key) is not None},
            float(value.get("initialDelaySeconds") or 0),
            float(value.get("periodSeconds") or 10),
            float(value.get("timeoutSeconds") or 1),
            int(value.get("successThreshold") or 1),
            int(value.get("failureThreshold") or 3),
        )


def probes_of(container: Mapping[str, Any]) -> dict[Kind, Probe]:
    return {kind: Probe.read(kind, value) for kind in Kind if (value := container.get(f"{kind.value}Probe"))}


@dataclass(frozen=True, slots=True)
class Result:
    """What one try said."""

    success: bool
    message: str = ""


class Machine:
    """Counts the results of one probe. `value` is what the threshold has made of them."""

    def __init__(self, probe: Probe, started_at: float, value: bool) -> None:
        self.probe = probe
        self.value = value
        self.due = started_at + probe.initial_delay
        self._streak = 0
        self._last: bool | None = None
        self._periodic_at = self.due
        self._eager = _EAGER_FIRST

    @property
    def exhausted(self) -> bool:
        """It has failed as often in a row as it may."""
        return self._last is False and self._streak >= self.probe.failure_threshold

    def record(self, result: Result, now: float) -> bool:
        """Takes a result; whether users should hear of a failure. One between two periods counts only if it is good."""
        extra = now < self._periodic_at
        if not extra:
            # From where the period was due: what a try costs does not add up.
            self._periodic_at = max(self._periodic_at + self.probe.period, now + self.probe.period / 2)
        if result.success or not extra:
            self._streak = self._streak + 1 if result.success == self._last else 1
            self._last = result.success
            threshold = self.probe.success_threshold if result.success else self.probe.failure_threshold
            if self._streak >= threshold:
                self.value = result.success
        self.due = self._periodic_at
        if self.probe.kind is not Kind.LIVENESS and not self.value and self.probe.success_threshold == 1:
            self.due = min(self.due, now + self._eager)
            self._eager = min(self._eager * 2, self.probe.period)
        return not result.success and not extra


class Checks:
    """All probes of one running container since it started."""

    def __init__(self, probes: Mapping[Kind, Probe], started_at: float, *, ready: bool = False) -> None:
        """`ready`: it was before this process lived, and stays so until a probe says otherwise."""
        self._machines = {
            kind: Machine(probe, started_at, kind is Kind.LIVENESS or ready) for kind, probe in probes.items()
        }
        self._failed = ""

    def due(self) -> tuple[Probe, float] | None:
        """The next probe to run and when; None when none ever will."""
        machines = [machine for kind, machine in self._machines.items() if self._is_on(kind)]
        if not machines or self._failed:
            return None
        first = min(machines, key=lambda machine: machine.due)
        return first.probe, first.due

    def _is_on(self, kind: Kind) -> bool:
        startup = self._machines.get(Kind.STARTUP)
        return (kind is Kind.STARTUP) != (startup is None or startup.value)

    def record(self, kind: Kind, result: Result, now: float) -> bool:
        """Takes a result; whether a failure is to be told as an event."""
        machine = self._machines[kind]
        was = machine.value
        tell = machine.record(result, now)
        if kind is not Kind.READINESS and machine.exhausted:
            self._failed = kind.value
        if kind is Kind.STARTUP and machine.value and not was:
            for other in self._machines.values():
                if other is not machine:
                    other.due = max(other.due, now)
        return tell

    def health(self, container: str) -> Health:
        startup, readiness = self._machines.get(Kind.STARTUP), self._machines.get(Kind.READINESS)
        started = startup is None or startup.value
        ready = started and (readiness is None or readiness.value)
        failure = f"Container {container} failed {self._failed} probe, will be restarted" if self._failed else ""
        return Health(started, ready, failure)
