"""Leader election: one leads, a dead one is followed, a clean stop hands over at once, a lost lease stops the work."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.client.election import LEASES, Election, Observation, Times, next_spec
from weft.core.clock import FakeClock
from weft.core.errors import UnavailableError
from weft.testing.fakeclient import FakeClient


class Candidate:
    """An election with a work that counts itself; its link to the API can be cut."""

    def __init__(self, client: FakeClient, identity: str, clock: FakeClock) -> None:
        self.client = Cuttable(client)
        self.election = Election(self.client, "work", identity, clock=clock)  # type: ignore[arg-type]
        self.starts = 0
        self.working = False

    def start(self) -> None:
        self.task = asyncio.create_task(self.election.lead(self._work))

    async def _work(self) -> None:
        self.starts += 1
        self.working = True
        try:
            await asyncio.Event().wait()
        finally:
            self.working = False

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class Cuttable:
    """A client whose calls fail, or never end, when told."""

    def __init__(self, client: FakeClient) -> None:
        self._client = client
        self.cut = self.hang = False

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]
        async def call(*arguments: object) -> object:
            if self.hang:
                await asyncio.Event().wait()
            if self.cut:
                raise UnavailableError("cannot reach the server: cut")
            return await getattr(self._client, name)(*arguments)

        return call


async def pass_time(clock: FakeClock, seconds: float) -> None:
    """In small steps, so that all that is ready runs before the clock goes on."""
    for _ in range(max(1, round(seconds * 10))):
        for _ in range(12):
            await asyncio.sleep(0)
        await clock.advance(min(seconds, 0.1))
    for _ in range(12):
        await asyncio.sleep(0)


@pytest.fixture
async def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def client(clock: FakeClock) -> FakeClient:
    return FakeClient(clock=clock)


@pytest.fixture
async def pair(client: FakeClient, clock: FakeClock) -> AsyncIterator[tuple[Candidate, Candidate]]:
    """Two candidates, the first of which leads."""
    first, second = Candidate(client, "first", clock), Candidate(client, "second", clock)
    first.start()
    await pass_time(clock, 0.1)
    second.start()
    await pass_time(clock, 0.1)
    assert (first.working, second.working) == (True, False)
    yield first, second
    for candidate in (first, second):
        candidate.client.hang = candidate.client.cut = False
        await candidate.stop()


async def spec(client: FakeClient) -> dict[str, object]:
    found: dict[str, object] = (await client.get(LEASES, "work", "kube-system"))["spec"]
    return found


async def test_one_leads_and_renews(pair: tuple[Candidate, Candidate], client: FakeClient, clock: FakeClock) -> None:
    before = await spec(client)
    assert before["holderIdentity"] == "first"
    assert (before["leaseDurationSeconds"], before["leaseTransitions"]) == (15, 0)
    await pass_time(clock, 100)
    after = await spec(client)
    assert after["holderIdentity"] == "first"
    assert after["acquireTime"] == before["acquireTime"]
    assert str(after["renewTime"]) > str(before["renewTime"])
    assert (pair[0].starts, pair[1].starts) == (1, 0)


async def test_a_clean_stop_hands_over_within_a_retry(
    pair: tuple[Candidate, Candidate], client: FakeClient, clock: FakeClock
) -> None:
    await pair[0].stop()
    assert (await spec(client))["holderIdentity"] == ""
    await pass_time(clock, 2.5)
    assert pair[1].working
    assert (await spec(client))["leaseTransitions"] == 1


async def test_a_dead_leader_is_followed_after_its_lease(
    pair: tuple[Candidate, Candidate], client: FakeClient, clock: FakeClock
) -> None:
    pair[0].client.hang = True
    pair[0].election._clock = FakeClock()  # as if killed: nothing of it runs any more
    await pass_time(clock, 12)
    assert not pair[1].working
    await pass_time(clock, 8)
    assert pair[1].working


@pytest.mark.parametrize("how", ["cut", "hang"])
async def test_work_stops_before_another_may_begin(
    pair: tuple[Candidate, Candidate], clock: FakeClock, how: str
) -> None:
    setattr(pair[0].client, how, True)
    both = 0
    for _ in range(250):
        await pass_time(clock, 0.1)
        both += pair[0].working and pair[1].working
        if pair[1].working:
            break
    assert both == 0
    assert pair[1].working
    assert not pair[0].working


async def test_work_stops_at_once_when_another_holds_the_lease(
    pair: tuple[Candidate, Candidate], client: FakeClient, clock: FakeClock
) -> None:
    lease = await client.get(LEASES, "work", "kube-system")
    await client.update(LEASES, {**lease, "spec": {**lease["spec"], "holderIdentity": "thief"}})
    await pass_time(clock, 2.1)
    assert not pair[0].working
    assert (await spec(client))["holderIdentity"] == "thief"  # nobody gives back what is not theirs
    await pass_time(clock, 20)
    assert pair[0].working != pair[1].working


async def test_a_few_failures_lose_nothing(pair: tuple[Candidate, Candidate], clock: FakeClock) -> None:
    for _ in range(5):
        pair[0].client.cut = True
        await pass_time(clock, 7)
        pair[0].client.cut = False
        await pass_time(clock, 3)
    assert (pair[0].starts, pair[1].starts) == (1, 0)


async def test_a_deleted_lease_is_made_again(
    pair: tuple[Candidate, Candidate], client: FakeClient, clock: FakeClock
) -> None:
    await client.delete(LEASES, "work", "kube-system")
    await pass_time(clock, 5)
    assert pair[0].working != pair[1].working


async def test_work_that_fails_is_told_and_gives_the_lease_back(client: FakeClient, clock: FakeClock) -> None:
    async def fail() -> None:
        raise RuntimeError("work")

    with pytest.raises(RuntimeError, match="work"):
        await Election(client, "work", "one", clock=clock).lead(fail)
    assert (await spec(client))["holderIdentity"] == ""


async def test_many_that_begin_together(client: FakeClient, clock: FakeClock) -> None:
    candidates = [Candidate(client, f"c{n}", clock) for n in range(8)]
    for candidate in candidates:
        candidate.start()
    await pass_time(clock, 3)
    for _ in range(len(candidates) - 1):
        working = [candidate for candidate in candidates if candidate.working]
        assert len(working) == 1
        await working[0].stop()
        candidates.remove(working[0])
        await pass_time(clock, 5)
    for candidate in candidates:
        with contextlib.suppress(asyncio.CancelledError):
            await candidate.stop()


def test_times_must_make_sense() -> None:
    with pytest.raises(ValueError, match="duration > renew"):
        Times(duration=10, renew=10)
    with pytest.raises(ValueError, match="retry"):
        Times(retry=9)


@given(st.floats(0, 100), st.floats(0, 100), st.integers(1, 30), st.sampled_from(["", "me", "you"]))
def test_a_lease_of_another_is_taken_only_when_it_has_run_out(
    since: float, now: float, lasts: int, holder: str
) -> None:
    seen = Observation({"holderIdentity": holder, "leaseDurationSeconds": lasts, "leaseTransitions": 3}, since)
    taken = next_spec(seen, "me", 15, monotonic=now, now=1000.0)
    if holder == "you" and now < since + lasts:
        assert taken is None
    else:
        assert taken is not None
        assert taken["leaseTransitions"] == (3 if holder == "me" else 4)
        assert taken["holderIdentity"] == "me"
