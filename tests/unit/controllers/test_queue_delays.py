"""The work queue under delays, failures and closing, and work that is done all at once."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.core.clock import FakeClock
from weft.core.tasks import wait_all
from weft.core.workqueue import WorkQueue

KEYS = st.sampled_from("abcd")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), KEYS, st.just(0.0)),
        st.tuples(st.just("later"), KEYS, st.floats(0, 20)),
        st.tuples(st.just("advance"), st.just(""), st.floats(0, 10)),
        st.tuples(st.just("turns"), st.just(""), st.floats(0, 5)),
    ),
    max_size=60,
)


async def turns(count: int = 50) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.lists(st.integers(0, 4), min_size=1, max_size=20), st.data())
def test_every_change_is_worked_on_and_no_key_twice_at_once(
    steps: list[tuple[str, str, float]], durations: list[int], data: st.DataObject
) -> None:
    failing = data.draw(st.sets(st.integers(0, 30)))

    async def scenario() -> None:
        clock = FakeClock()
        queue: WorkQueue[str] = WorkQueue(clock)
        wanted: Counter[str] = Counter()
        seen: Counter[str] = Counter()
        working: set[str] = set()
        count = 0

        async def work() -> None:
            nonlocal count
            while (key := await queue.get()) is not None:
                assert key not in working
                working.add(key)
                count += 1
                number, version = count, wanted[key]
                await turns(durations[number % len(durations)])
                if number in failing:
                    queue.retry(key)
                else:
                    seen[key] = version
                    queue.forget(key)
                working.discard(key)
                queue.done(key)

        workers = [asyncio.create_task(work()) for _ in range(3)]
        for verb, key, amount in steps:
            if verb == "advance":
                await clock.advance(amount)
            elif verb == "turns":
                await turns(int(amount))
            else:
                wanted[key] += 1
                if verb == "add":
                    queue.add(key)
                else:
                    queue.add_after(key, amount)
        for _ in range(60):
            await turns()
            await clock.advance(60)
        assert seen == wanted
        queue.close()
        await asyncio.wait_for(asyncio.gather(*workers), 1)

    asyncio.run(scenario())


async def test_of_two_delays_the_sooner_counts() -> None:
    clock = FakeClock()
    queue: WorkQueue[str] = WorkQueue(clock)
    for delay in (10, 3, 5):
        queue.add_after("a", delay)
    await turns()
    await clock.advance(2.9)
    assert len(queue) == 0
    await clock.advance(0.2)
    assert len(queue) == 1
    queue.done(await queue.get() or "")
    await clock.advance(60)
    assert len(queue) == 0


async def test_closing_ends_those_who_wait_and_takes_nothing_more() -> None:
    queue: WorkQueue[str] = WorkQueue(FakeClock())
    waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
    await turns()
    queue.close()
    assert await asyncio.gather(*waiting) == [None] * 3
    queue.add("a")
    queue.add_after("a", 1)
    assert await queue.get() is None


async def test_what_is_worked_on_at_closing_does_not_come_again() -> None:
    queue: WorkQueue[str] = WorkQueue(FakeClock())
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.close()
    queue.done("a")
    assert await queue.get() is None


async def test_one_failure_does_not_stop_the_others() -> None:
    done = []

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        if number == 1:
            raise ValueError("one")
        done.append(number)

    with pytest.raises(ValueError, match="one"):
        await wait_all(work(number) for number in range(4))
    assert done == [0, 2, 3]
