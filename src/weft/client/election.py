"""Leader election by a Lease: of several processes that could do a work, one does it.

In: a client and a lease's name. Out: `run` is called while this process holds the lease, and cancelled as soon as it
is lost. A holder renews every `retry` seconds and gives up by itself when it could not for `renew` seconds; the others
take the lease when they have not seen it change for `duration` seconds by their own clocks, which need not agree.
A clean stop gives the lease back. The rules and the Lease's fields are client-go's (`tools/leaderelection`), so that
kubectl and others read them. Who is next: whoever runs controllers, by what it passes as `run`.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from weft.api.gvr import GVR
from weft.api.status import ApiError
from weft.client.base import Client, Object
from weft.core.clock import Clock, SystemClock, rfc3339_micro
from weft.core.errors import WeftError

_log = logging.getLogger(__name__)

LEASES = GVR("coordination.k8s.io", "v1", "leases")
# Retries spread, so that processes that began together do not stay together.
_JITTER = 1.2


@dataclass(frozen=True, slots=True)
class Times:
    """In seconds; client-go's defaults."""

    duration: float = 15.0
    renew: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not self.duration > self.renew > self.retry * _JITTER > 0:
            raise ValueError("an election needs duration > renew > 1.2 * retry > 0")


@dataclass(slots=True)
class Observation:
    """The lease as it was last seen, and when its spec was seen to change."""

    spec: dict[str, Any] | None = None
    since: float = 0.0

    def look(self, spec: dict[str, Any], now: float) -> None:
        if spec != self.spec:
            self.spec, self.since = spec, now


def next_spec(
    seen: Observation, identity: str, duration: float, *, monotonic: float, now: float
) -> dict[str, Any] | None:
    """What to write to take or keep the lease; None while another holds it."""
    old = seen.spec or {}
    holder = old.get("holderIdentity") or ""
    mine = holder == identity
    # The holder's own word on how long its lease lasts counts.
    if holder and not mine and monotonic < seen.since + (old.get("leaseDurationSeconds") or duration):
        return None
    time = rfc3339_micro(now)
    transitions = int(old.get("leaseTransitions") or 0)
    return {
        **old,
        "holderIdentity": identity,
        "leaseDurationSeconds": max(1, round(duration)),
        "acquireTime": old.get("acquireTime") or time if mine else time,
        "renewTime": time,
        "leaseTransitions": transitions if mine or seen.spec is None else transitions + 1,
    }


class Election:
    """`await Election(client, "weft-controllers", identity).lead(run)` runs until cancelled or until `run` returns."""

    def __init__(
        self,
        client: Client,
        name: str,
        identity: str,
        *,
        namespace: str = "kube-system",
        times: Times | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._name, self._namespace = name, namespace
        self.identity = identity
        self._times = times or Times()
        self._clock: Clock = clock or SystemClock()
        self._seen = Observation()
        self._lease: Object | None = None
        self.leads = False

    async def lead(self, run: Callable[[], Awaitable[None]]) -> None:
        """Waits to be elected, runs `run`, and begins anew when the lease is lost; what `run` raises is raised."""
        while True:
            await self._acquire()
            _log.info("leading", extra={"lease": self._name, "identity": self.identity})
            self.leads = True
            work = asyncio.ensure_future(run())
            holding = asyncio.create_task(self._hold(), name=f"lease-{self._name}")
            try:
                await asyncio.wait((work, holding), return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    return await work
                _log.warning("lost the lease", extra={"lease": self._name, "identity": self.identity})
            finally:
                self.leads = False
                for task in (work, holding):
                    task.cancel()
                await asyncio.gather(work, holding, return_exceptions=True)
                await self._release()

    async def _acquire(self) -> None:
        while not await self._try():
            await self._clock.sleep(self._times.retry * random.uniform(1, _JITTER))

    async def _hold(self) -> None:
        """Returns when the lease is lost."""
        renewed = self._clock.monotonic()
        while True:
            await self._clock.sleep(self._times.retry)
            left = renewed + self._times.renew - self._clock.monotonic()
            trying = asyncio.create_task(self._try(), name=f"lease-{self._name}-renewal")
            limit = asyncio.ensure_future(self._clock.sleep(max(left, 0.0)))
            try:
                await asyncio.wait((trying, limit), return_when=asyncio.FIRST_COMPLETED)
                if trying.done() and trying.result():
                    renewed = self._clock.monotonic()
                elif not trying.done() or self._is_anothers() or self._clock.monotonic() >= renewed + self._times.renew:
                    return
            finally:
                for task in (trying, limit):
                    task.cancel()
                await asyncio.gather(trying, limit, return_exceptions=True)

    def _is_anothers(self) -> bool:
        return (self._seen.spec or {}).get("holderIdentity") != self.identity

    async def _try(self) -> bool:
        """Takes or keeps the lease if it may; errors are told and count as a no."""
        try:
            lease = await self._read()
            spec = next_spec(
                self._seen,
                self.identity,
                self._times.duration,
                monotonic=self._clock.monotonic(),
                now=self._clock.now(),
            )
            if spec is None:
                return False
            await self._write(lease, spec)
        except ApiError as error:
            if error.code != 409:  # another was quicker
                _log.warning("cannot take or keep the lease %s: %s", self._name, error)
            return False
        except WeftError as error:
            _log.warning("cannot take or keep the lease %s: %s", self._name, error)
            return False
        return True

    async def _read(self) -> Object | None:
        try:
            lease = await self._client.get(LEASES, self._name, self._namespace)
        except ApiError as error:
            if error.code != 404:
                raise
            self._seen = Observation()
            return None
        self._seen.look(dict(lease.get("spec") or {}), self._clock.monotonic())
        return lease

    async def _write(self, lease: Object | None, spec: dict[str, Any]) -> None:
        if lease is None:
            metadata = {"name": self._name, "namespace": self._namespace}
            body: Object = {"apiVersion": LEASES.api_version, "kind": "Lease", "metadata": metadata, "spec": spec}
            self._lease = await self._client.create(LEASES, body, self._namespace)
        else:
            self._lease = await self._client.update(LEASES, {**lease, "spec": spec})
        self._seen.look(dict(self._lease["spec"]), self._clock.monotonic())

    async def _release(self) -> None:
        """Lets the others take it now, if it is still ours; ours is the last revision that we wrote."""
        lease = self._lease
        if lease is None or self._is_anothers():
            return
        time = rfc3339_micro(self._clock.now())
        spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": time}
        try:
            async with asyncio.timeout(self._times.retry):
                await self._client.update(LEASES, {**lease, "spec": spec})
        except (WeftError, TimeoutError) as error:
            _log.warning("cannot give the lease %s back: %s", self._name, str(error) or "no answer in time")
        self._lease = None
