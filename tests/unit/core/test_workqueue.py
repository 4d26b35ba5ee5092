"""The work queue: no key twice at once, no change lost, back-off by the clock."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from weft.core.clock import FakeClock
from weft.core.tasks import Tasks
from weft.core.workqueue import WorkQueue


async def test_a_waiting_key_is_queued_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("a")
    assert len(queue) == 1


async def test_a_key_added_while_it_is_worked_on_comes_again_after_it() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"


async def test_back_off_doubles_and_is_forgotten() -> None:
    clock = FakeClock()
    queue: WorkQueue[str] = WorkQueue(clock, base_delay=1, max_delay=5)
    assert [queue.retry("a") for _ in range(4)] == [1, 2, 4, 5]
    queue.forget("a")
    assert queue.retry("a") == 1
    await asyncio.sleep(0)
    assert len(queue) == 0
    await clock.advance(1)
    assert await queue.get() == "a"
    queue.close()


async def test_a_sooner_timer_overtakes_a_later_one() -> None:
    clock = FakeClock()
    queue: WorkQueue[str] = WorkQueue(clock)
    queue.add_after("late", 10)
    await asyncio.sleep(0)
    queue.add_after("soon", 1)
    await asyncio.sleep(0)
    await clock.advance(1.5)
    assert await queue.get() == "soon"
    assert len(queue) == 0
    queue.close()


async def test_a_closed_queue_wakes_all_who_wait() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.close()
    assert await asyncio.gather(*waiting) == [None, None, None]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.integers(1, 4))
def test_workers_see_the_last_change_of_every_key_and_never_share_one(changes: list[str], workers: int) -> None:
    async def scenario() -> None:
        queue: WorkQueue[str] = WorkQueue()
        latest: dict[str, int] = {}
        seen: dict[str, int] = {}
        working: set[str] = set()

        async def worker() -> None:
            while (key := await queue.get()) is not None:
                assert key not in working
                working.add(key)
                value = latest[key]
                await asyncio.sleep(0)
                seen[key] = value
                working.discard(key)
                queue.done(key)

        tasks = [asyncio.create_task(worker()) for _ in range(workers)]
        for number, key in enumerate(changes):
            latest[key] = number
            queue.add(key)
            if number % 3 == 0:
                await asyncio.sleep(0)
        for _ in range(len(changes) * 4 + 10):
            await asyncio.sleep(0)
        queue.close()
        await asyncio.gather(*tasks)
        assert seen == latest

    asyncio.run(scenario())


async def test_a_task_that_fails_is_started_again_and_ends_with_the_rest() -> None:
    tasks = Tasks(first_delay=0.001)
    runs = 0
    reached = asyncio.Event()

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise ValueError("not yet")
        reached.set()
        await asyncio.Event().wait()

    task = tasks.start("work", work)
    await asyncio.wait_for(reached.wait(), 5)
    await tasks.close()
    assert runs == 3
    assert task.cancelled()
