"""The store in a real etcd: the contract, the model, and what is etcd's own: members that come and go, TLS, users."""

import asyncio
import itertools
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from etcd_process import Etcd, etcd, free_ports
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from weft.core.errors import ConflictError, ForbiddenError, UnavailableError
from weft.store import etcd_copy, etcd_link
from weft.store.base import CompactedError, Compare, Delete, Event, Put, Store
from weft.store.etcd import EtcdStore
from weft.store.etcd_address import Address
from weft.store.etcd_wire import Wire
from weft.testing.store import StoreContract, StoreMachine, collect, put

_PLACES = itertools.count()


@pytest.fixture(scope="module")
def member() -> Iterator[Etcd]:
    with etcd() as running:
        yield running


def address(member: Etcd, prefix: str = "") -> Address:
    return Address.parse(f"etcd://{member.endpoint}?prefix={prefix or f'/place{next(_PLACES)}'}")


@pytest.fixture
async def store(member: Etcd) -> AsyncIterator[EtcdStore]:
    await member.answers()
    store = EtcdStore(address(member))
    await store.start()
    yield store
    await store.stop()


class TestEtcdStore(StoreContract):
    """The contract suite."""


def test_store_agrees_with_a_model(member: Etcd) -> None:
    class Machine(StoreMachine):
        def place(self) -> Callable[[], Store]:
            where = address(member)
            return lambda: EtcdStore(where)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=5, stateful_step_count=12, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )


async def test_two_processes_see_each_other(member: Etcd, store: EtcdStore) -> None:
    other = EtcdStore(store._address)
    await other.start()
    try:
        begin = await store.fresh()
        watching = [asyncio.create_task(collect(s, "/", begin + 1, 200)) for s in (store, other)]
        await asyncio.sleep(0.02)
        for at in range(0, 100, 10):
            await asyncio.gather(*(put(s, f"/{n}", "x") for n in range(at, at + 10) for s in (store, other)))
        seen = [await asyncio.wait_for(task, 10) for task in watching]
        assert seen[0] == seen[1]
        assert len({event.revision for event in seen[0]}) == 200
        # What one was acknowledged, the other knows after `fresh`.
        for n in range(20):
            revision = await put(store, "/a", str(n))
            assert await other.fresh() >= revision
    finally:
        await other.stop()


async def test_another_user_of_the_cluster_holds_nobody_up(member: Etcd, store: EtcdStore) -> None:
    """Revisions that belong to other prefixes come to no watch of ours, and yet reads do not wait for them."""
    other = EtcdStore(address(member))
    await other.start()
    try:
        created = await put(store, "/a", "1")
        await store.txn([], [Delete("/a")])
        foreign = await put(other, "/theirs", "1")
        refused = await store.txn([Compare("/a", created)], [Put("/a", b"2")])
        assert not refused.succeeded
        assert await put(other, "/theirs", "2") == foreign + 2  # ours wrote one mark between
        assert await asyncio.wait_for(store.fresh(), 5) > foreign
        assert (await store.range("/")).items == ()
    finally:
        await other.stop()


async def test_no_event_is_lost_or_doubled_when_etcd_dies_and_returns() -> None:
    with etcd() as member:
        await member.answers()
        store = EtcdStore(address(member))
        await store.start()
        acknowledged: set[str] = set()
        going = True

        async def write(worker: int) -> None:
            n = 0
            while going:
                n += 1
                try:
                    await store.txn([Compare(f"/{worker}/{n}", 0)], [Put(f"/{worker}/{n}", b"")])
                    acknowledged.add(f"/{worker}/{n}")
                except UnavailableError:
                    await asyncio.sleep(0.05)

        seen: list[Event] = []

        async def watch() -> None:
            async with aclosing(store.watch("/", store.revision + 1)) as batches:
                async for batch in batches:
                    seen.extend(batch.events)
                    if seen and seen[-1].key == "/end":
                        return

        tasks = [asyncio.create_task(write(worker)) for worker in range(8)]
        watching = asyncio.create_task(watch())
        await asyncio.sleep(0.4)
        member.end(signal.SIGKILL)
        await asyncio.sleep(0.2)
        before = len(acknowledged)
        member.start()
        for _ in range(200):
            await asyncio.sleep(0.05)
            if len(acknowledged) > before + 20:
                break
        going = False
        await asyncio.gather(*tasks)
        present = {item.key for item in (await store.range("/")).items}
        await put(store, "/end", "")
        await asyncio.wait_for(watching, 10)
        await store.stop()
    assert len(acknowledged) > 100
    assert acknowledged <= present
    keys = [event.key for event in seen[:-1]]
    assert len(keys) == len(set(keys))
    assert set(keys) == present
    assert [event.revision for event in seen] == sorted(event.revision for event in seen)


async def test_what_was_compacted_while_away_ends_watches() -> None:
    with etcd() as member:
        await member.answers()
        where = address(member)
        store, other = EtcdStore(where), EtcdStore(where)
        await store.start()
        await other.start()
        await put(store, "/a", "1")
        stream = store.watch("/", store.revision + 1)
        await anext(stream)
        known = store.revision
        # The store's own watch cannot be made to fall behind from outside: stand in its way.
        store._following.cancel()
        await asyncio.gather(store._following, return_exceptions=True)
        for n in range(3):
            await put(other, "/a", str(n))
        await other.compact(other.revision)
        store._following = asyncio.create_task(store._follow())
        with pytest.raises(CompactedError):
            await asyncio.wait_for(anext(stream), 5)
        assert store.compacted > known + 1
        assert await store.fresh() > known
        watching = asyncio.create_task(collect(store, "/", store.revision + 1, 1))
        await asyncio.sleep(0)
        await put(other, "/a", "4")
        assert (await asyncio.wait_for(watching, 5))[0].value == b"4"
        await store.stop()
        late = EtcdStore(where)
        await late.start()  # one that was not there learns of the compaction all the same
        with pytest.raises(CompactedError):
            await collect(late, "/", known, 1)
        await late.stop()
        await other.stop()


async def test_a_dead_member_is_left_for_the_next(tmp_path: Path) -> None:
    """Three members; the one in use is killed."""
    names = dict(zip(("a", "b", "c"), free_ports(3), strict=True))
    members = [Etcd(tmp_path, name, names) for name in names]
    for one in members:
        one.start()
    try:
        for one in members:
            await one.answers()
        text = "etcd://" + ",".join(one.endpoint for one in members)
        store = EtcdStore(Address.parse(text))
        await store.start()
        await put(store, "/a", "1")
        members[0].end(signal.SIGKILL)
        for attempt in range(40):
            try:
                await put(store, "/a", "2")
                break
            except UnavailableError:
                assert attempt < 39
                await asyncio.sleep(0.2)
        found = await store.get("/a")
        assert found is not None
        assert found.value == b"2"
        await store.stop()
    finally:
        for one in members:
            one.end()


def _certificates(directory: Path) -> None:
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca", "-days", "2")
    (directory / "ext").write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    for name in ("server", "client"):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext"]
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *signed)


async def test_tls_with_certificates_of_both_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _certificates(tmp_path)
    files = {name: tmp_path / name for name in ("ca.crt", "server.crt", "server.key", "client.crt", "client.key")}
    options = [f"--cert-file={files['server.crt']}", f"--key-file={files['server.key']}", "--client-cert-auth"]
    with etcd([*options, f"--trusted-ca-file={files['ca.crt']}"]) as member:
        await member.answers()
        url = f"etcd://{member.endpoint}?ca={files['ca.crt']}"
        store = EtcdStore(Address.parse(f"{url}&cert={files['client.crt']}&key={files['client.key']}"))
        await store.start()
        await put(store, "/a", "1")
        assert await store.get("/a")
        await store.stop()
        monkeypatch.setattr(etcd_link, "_SEARCH_SECONDS", 0.2)
        for without in (url, f"etcd://{member.endpoint}"):
            with pytest.raises(UnavailableError):
                await EtcdStore(Address.parse(without)).start()


async def test_user_and_password(tmp_path: Path) -> None:
    with etcd() as member:
        await member.answers()

        def etcdctl(*arguments: str) -> None:
            command = ["etcdctl", f"--endpoints={member.endpoint}", *arguments]
            subprocess.run(command, check=True, capture_output=True, env={"ETCDCTL_API": "3", "PATH": "/usr/bin"})

        etcdctl("user", "add", "root:root")
        etcdctl("user", "grant-role", "root", "root")
        etcdctl("user", "add", "cloud:secret")
        etcdctl("role", "add", "cloud")
        etcdctl("role", "grant-permission", "cloud", "readwrite", "/weft.", "/weft0")
        etcdctl("user", "grant-role", "cloud", "cloud")
        etcdctl("auth", "enable")
        (tmp_path / "right").write_text("secret\n")
        (tmp_path / "wrong").write_text("guess")
        url = f"etcd://{member.endpoint}?user=cloud&password-file={tmp_path}"
        store = EtcdStore(Address.parse(f"{url}/right"))
        await store.start()
        await put(store, "/a", "1")
        store._link._token = "stale.1"
        assert await store.get("/a")
        await store.stop()
        elsewhere = f"{url}/right&prefix=/elsewhere"
        for refused in (f"{url}/wrong", f"etcd://{member.endpoint}", elsewhere):
            with pytest.raises(ForbiddenError):
                await EtcdStore(Address.parse(refused)).start()


async def test_a_restore_that_was_not_finished_is_no_store(member: Etcd, tmp_path: Path) -> None:
    await member.answers()
    where = address(member)
    store = EtcdStore(where)
    await store.start()
    await put(store, "/a", "1")
    await etcd_copy.save(where, tmp_path / "backup", {})
    await store.stop()
    into = address(member)
    link = etcd_link.Link(into)
    await link.call("/etcdserverpb.KV/Put", Wire().put(f"{into.prefix}.shift".encode(), b"unfinished"))
    await link.close()
    with pytest.raises(ConflictError, match="not finished"):
        await EtcdStore(into).start()
    with pytest.raises(ConflictError, match="not empty"):
        await etcd_copy.restore(into, tmp_path / "backup")
