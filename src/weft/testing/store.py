"""The contract of `weft.store.base.Store` as tests that every store runs.

`StoreContract`: subclass it where a fixture `store` gives a started, empty store. `StoreMachine`: subclass it where
`place` gives an empty place, and run it by `hypothesis.stateful.run_state_machine_as_test`.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from weft.store.base import (
    CompactedError,
    Compare,
    Delete,
    Event,
    FutureRevisionError,
    Operation,
    Put,
    Store,
    WatchBatch,
)


async def put(store: Store, key: str, value: str) -> int:
    """Writes one key whatever it was; the revision."""
    return (await store.txn([], [Put(key, value.encode())])).revision


async def collect(store: Store, prefix: str, from_revision: int, count: int) -> list[Event]:
    """The first `count` events."""
    events: list[Event] = []
    async with aclosing(store.watch(prefix, from_revision)) as batches:
        async for batch in batches:
            events += batch.events
            if len(events) >= count:
                return events
    raise AssertionError(f"the watch ended after {len(events)} of {count} events")


class StoreContract:
    """What etcd's documentation promises of keys, revisions, transactions and watches."""

    async def test_put_get_delete(self, store: Store) -> None:
        assert await store.get("/a") is None
        first = await put(store, "/a", "1")
        second = await put(store, "/a", "2")
        assert second == first + 1 == store.revision
        found = await store.get("/a")
        assert found is not None
        assert (found.value, found.create_revision, found.mod_revision) == (b"2", first, second)
        result = await store.txn([], [Delete("/a")])
        assert result.revision == second + 1
        assert await store.get("/a") is None
        third = await put(store, "/a", "3")
        again = await store.get("/a")
        assert again is not None
        assert again.create_revision == third

    async def test_deleting_nothing_takes_no_revision(self, store: Store) -> None:
        before = store.revision
        result = await store.txn([], [Delete("/none")])
        assert (result.succeeded, result.revision) == (True, before)

    async def test_compare(self, store: Store) -> None:
        assert (await store.txn([Compare("/a", 0)], [Put("/a", b"1")])).succeeded
        refused = await store.txn([Compare("/a", 0)], [Put("/a", b"2")])
        assert not refused.succeeded
        assert refused.revision == store.revision
        found = await store.get("/a")
        assert found is not None
        assert found.value == b"1"
        assert not (await store.txn([Compare("/a", found.mod_revision + 1)], [Delete("/a")])).succeeded
        assert (await store.txn([Compare("/a", found.mod_revision)], [Delete("/a")])).succeeded

    async def test_a_transaction_is_all_or_nothing_at_one_revision(self, store: Store) -> None:
        await put(store, "/b", "old")
        refused = await store.txn([Compare("/a", 0), Compare("/b", 0)], [Put("/a", b"1"), Delete("/b")])
        assert not refused.succeeded
        assert await store.get("/a") is None
        done = await store.txn([Compare("/a", 0)], [Put("/a", b"1"), Delete("/b"), Put("/c", b"3")])
        assert done.succeeded
        found = await store.range("/")
        assert [(item.key, item.mod_revision) for item in found.items] == [("/a", done.revision), ("/c", done.revision)]

    async def test_one_of_many_wins(self, store: Store) -> None:
        results = await asyncio.gather(*(store.txn([Compare("/a", 0)], [Put("/a", b"%d" % n)]) for n in range(50)))
        assert sum(result.succeeded for result in results) == 1

    async def test_range_pages_at_one_revision(self, store: Store) -> None:
        for name in ("b", "a", "é", "c", "z"):
            await put(store, f"/x/{name}", name)
        await put(store, "/y/a", "other")
        pinned = store.revision
        page = await store.range("/x/", limit=2)
        assert [item.key for item in page.items] == ["/x/a", "/x/b"]
        assert (page.more, page.revision) == (True, pinned)
        await store.txn([], [Delete("/x/c")])
        await put(store, "/x/d", "new")
        rest = await store.range("/x/", page.revision, limit=3, start_after="/x/b")
        assert [item.key for item in rest.items] == ["/x/c", "/x/z", "/x/é"]
        assert not rest.more
        assert [item.key for item in (await store.range("/x/")).items] == ["/x/a", "/x/b", "/x/d", "/x/z", "/x/é"]

    async def test_past_values(self, store: Store) -> None:
        revisions = [await put(store, "/a", str(n)) for n in range(4)]
        for n, revision in enumerate(revisions):
            found = await store.get("/a", revision)
            assert found is not None
            assert found.value == str(n).encode()
        assert await store.get("/a", revisions[0] - 1) is None
        with pytest.raises(FutureRevisionError):
            await store.get("/a", store.revision + 1)

    async def test_watch_past_and_present(self, store: Store) -> None:
        first = await put(store, "/x/a", "1")
        await put(store, "/y", "not ours")
        await store.txn([], [Put("/x/a", b"2"), Put("/x/b", b"1")])
        watching = asyncio.create_task(collect(store, "/x/", first, 6))
        await asyncio.sleep(0.02)
        await put(store, "/x/c", "1")
        await store.txn([], [Delete("/x/a")])
        await put(store, "/x/a", "3")
        events = await asyncio.wait_for(watching, 5)
        assert [(e.key, e.value, e.revision - first) for e in events] == [
            ("/x/a", b"1", 0),
            ("/x/a", b"2", 2),
            ("/x/b", b"1", 2),
            ("/x/c", b"1", 3),
            ("/x/a", None, 4),
            ("/x/a", b"3", 5),
        ]
        assert [event.previous_revision for event in events] == [0, first, 0, 0, first + 2, 0]
        assert events[4].create_revision == first
        assert events[5].create_revision == first + 5

    async def test_the_first_batch_comes_at_once(self, store: Store) -> None:
        await put(store, "/a", "1")
        async with aclosing(store.watch("/", store.revision + 1)) as batches:
            first = await asyncio.wait_for(anext(batches), 5)
        assert first == WatchBatch((), store.revision)

    async def test_watches_see_all_of_many_writers(self, store: Store) -> None:
        begin = store.revision + 1
        watches = [asyncio.create_task(collect(store, "/", begin + late, 200 - late)) for late in (0, 0, 50)]
        for n in range(200):
            if n % 20 == 0:
                await asyncio.gather(*(put(store, f"/{m}", str(m)) for m in range(n, n + 20)))
        for late, watching in zip((0, 0, 50), watches, strict=True):
            events = await asyncio.wait_for(watching, 10)
            assert [event.revision for event in events] == list(range(begin + late, begin + 200))

    async def test_a_writer_is_known_to_watchers_before_itself(self, store: Store) -> None:
        async with aclosing(store.watch("/", store.revision + 1)) as batches:
            await anext(batches)
            for n in range(5):
                revision = await put(store, "/a", str(n))
                batch = await asyncio.wait_for(anext(batches), 5)
                assert batch.revision == revision

    async def test_compaction(self, store: Store) -> None:
        await put(store, "/kept", "1")
        await put(store, "/a", "1")
        old = store.revision
        await put(store, "/a", "2")
        await store.txn([], [Delete("/a")])
        await put(store, "/b", "1")
        at = store.revision
        await put(store, "/b", "2")
        await store.compact(at)
        assert store.compacted == at
        for reading in (store.get("/a", old), store.range("/", old), anext(store.watch("/", old))):
            with pytest.raises(CompactedError):
                await reading
        assert [item.key for item in (await store.range("/")).items] == ["/b", "/kept"]
        assert [item.value for item in (await store.range("/", at)).items] == [b"1", b"1"]
        events = await collect(store, "/", at, 2)
        assert [(event.key, event.value) for event in events] == [("/b", b"1"), ("/b", b"2")]
        await store.compact(store.revision)
        await put(store, "/c", "1")
        assert [item.key for item in (await store.range("/")).items] == ["/b", "/c", "/kept"]
        with pytest.raises(FutureRevisionError):
            await store.compact(store.revision + 1)

    async def test_fresh_knows_all_that_was_acknowledged(self, store: Store) -> None:
        revision = await put(store, "/a", "1")
        assert await store.fresh() >= revision
        assert await store.fresh() == store.revision

    async def test_a_lost_race_tells_of_the_winner(self, store: Store) -> None:
        """After a failed compare the store's watches know what made it fail."""
        first = await put(store, "/a", "1")
        async with aclosing(store.watch("/", first + 1)) as batches:
            await anext(batches)
            changed, removed = await put(store, "/a", "2"), (await store.txn([], [Delete("/a")])).revision
            refused = await store.txn([Compare("/a", first)], [Put("/a", b"3")])
            assert (refused.succeeded, refused.revision) == (False, removed)
            seen = [(await asyncio.wait_for(anext(batches), 5)).revision for _ in range(2)]
        assert seen == [changed, removed]

    async def test_large_values_and_many_keys(self, store: Store) -> None:
        big = b"x" * 1_000_000
        await store.txn([], [Put("/big", big)])
        found = await store.get("/big")
        assert found is not None
        assert found.value == big
        await asyncio.gather(
            *(store.txn([], [Put(f"/many/{n:05}", b"") for n in range(at, at + 100)]) for at in range(0, 4500, 100))
        )
        assert [item.key for item in (await store.range("/many/")).items] == [f"/many/{n:05}" for n in range(4500)]
        page = await store.range("/many/", limit=4499)
        assert (len(page.items), page.more) == (4499, True)


_KEYS = st.sampled_from(["/a", "/a/b", "/b", "/ü"])


class StoreMachine(RuleBasedStateMachine):
    """A store beside a model that keeps every revision as a dict; a subclass's `place` says which store."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.make = self.place()
        self.store = self.make()
        self.runner.run(self.store.start())
        self.states: dict[int, dict[str, tuple[bytes, int]]] = {self.store.revision: {}}
        self.events: list[tuple[str, bytes | None, int]] = []

    def place(self) -> Callable[[], Store]:
        """An empty place, and what opens it, again and again; subclasses say which."""
        raise NotImplementedError

    def teardown(self) -> None:
        self.runner.run(self.store.stop())
        self.runner.close()

    @property
    def now(self) -> int:
        return max(self.states)

    @rule(
        writes=st.dictionaries(_KEYS, st.one_of(st.none(), st.binary(max_size=3)), min_size=1, max_size=3),
        compared=_KEYS,
        right=st.booleans(),
    )
    def txn(self, writes: dict[str, bytes | None], compared: str, right: bool) -> None:
        state = self.states[self.now]
        actual = state[compared][1] if compared in state else 0
        operations: list[Operation] = [Delete(k) if v is None else Put(k, v) for k, v in writes.items()]
        compare = Compare(compared, actual if right else actual + 1)
        result = self.runner.run(self.store.txn([compare], operations))
        assert result.succeeded == right
        changes = {k: v for k, v in writes.items() if v is not None or k in state}
        if right and changes:
            revision = self.now + 1
            after = {k: v for k, v in state.items() if k not in changes}
            after |= {k: (v, revision) for k, v in changes.items() if v is not None}
            self.states[revision] = after
            self.events += [(k, v, revision) for k, v in changes.items()]
        assert result.revision == self.now

    @rule(data=st.data())
    def read_the_past(self, data: st.DataObject) -> None:
        revision = data.draw(st.sampled_from(sorted(self.states)))
        if revision < self.store.compacted:
            with pytest.raises(CompactedError):
                self.runner.run(self.store.range("/", revision))
            return
        found = self.runner.run(self.store.range("/", revision))
        assert [(i.key, i.value, i.mod_revision) for i in found.items] == [
            (key, *value) for key, value in sorted(self.states[revision].items())
        ]

    @rule(data=st.data())
    def watch_from_the_past(self, data: st.DataObject) -> None:
        revision = data.draw(st.sampled_from(sorted(self.states)))
        expected = [event for event in self.events if event[2] >= revision]
        if revision < self.store.compacted or not expected:
            return
        events: list[Event] = self.runner.run(collect(self.store, "/", revision, len(expected)))
        assert [(e.key, e.value, e.revision) for e in events] == expected

    @precondition(lambda self: len(self.states) > 2)
    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        self.runner.run(self.store.compact(data.draw(st.sampled_from(sorted(self.states)))))

    @rule()
    def restart(self) -> None:
        self.runner.run(self.store.stop())
        self.store = self.make()
        self.runner.run(self.store.start())
        # A store may take a revision for itself when it starts.
        self.states.setdefault(self.store.revision, self.states[self.now])

    @invariant()
    def the_present_agrees(self) -> None:
        assert self.store.revision == self.now
        found = self.runner.run(self.store.range("/"))
        assert {i.key: (i.value, i.mod_revision) for i in found.items} == self.states[self.now]
