"""The contract suite of `weft.store.base.Store`: subclass it where a fixture `store` gives a started, empty store."""

import asyncio
from contextlib import aclosing

import pytest

from weft.store.base import (
    CompactedError,
    Compare,
    Delete,
    Event,
    FutureRevisionError,
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
