"""`weft lab`: bring up a lab from a file, look at it, ping and trace in it, cut and restore its links, take it down.

Everything but `ping` and `trace` goes through the API, so that kubectl can do the same.
"""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from weft.cli import lab_kernel
from weft.cli.lab_file import LabFile, read_lab, write_lab
from weft.cli.lab_view import LabView, choose, labs, settle
from weft.cli.main import need_root, settings_of
from weft.client.base import Client, Object
from weft.core.errors import UnsupportedError, WeftError
from weft.core.settings import is_root

T = TypeVar("T")
_SECONDS = 30.0

lab_option = click.option("--lab", "name", metavar="NAME", help="Which lab; needed where several are up.")


@click.group()
def lab() -> None:
    """Labs: routers, switches and hosts in network namespaces, with routes by the controller, OSPF or RIP."""


def with_client(ctx: click.Context, work: Callable[[Client], Awaitable[T]]) -> T:
    """Runs `work` with a client of the instance."""
    from weft.client.http import HttpClient

    settings = settings_of(ctx)
    if not settings.paths.kubeconfig.exists():
        raise WeftError(f"weft is not up in {settings.paths.root}: start it with `weft up --detach`")

    async def run() -> T:
        async with HttpClient.from_kubeconfig(settings.paths.kubeconfig.resolve()) as client:
            return await work(client)

    return asyncio.run(run())


def _view(ctx: click.Context, name: str | None) -> LabView:
    async def work(client: Client) -> LabView:
        return await load_view(client, name)

    return with_client(ctx, work)


async def load_view(client: Client, name: str | None) -> LabView:
    metadata = (await choose(client, name))["metadata"]
    return await LabView.load(client, metadata["name"], metadata["namespace"])


@lab.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--timeout", type=click.FloatRange(min=1), default=_SECONDS, show_default=True, help="Seconds to wait.")
@click.pass_context
def up(ctx: click.Context, file: Path, timeout: float) -> None:
    """Bring up the lab in FILE, or change a lab that is up to what FILE says."""
    began = time.monotonic()
    described = read_lab(file)
    view = with_client(ctx, lambda client: _bring_up(client, described, timeout))
    counts = view.status()
    parts = [f"{counts['routers']} routers", f"{counts['hosts']} hosts", f"{len(view.model.links)} links"]
    if counts["switches"]:
        parts.insert(1, f"{counts['switches']} switches")
    click.echo(f"lab {view.name} is up in {time.monotonic() - began:.2f} s: {', '.join(parts)}")
    _print_lab(view)


async def _bring_up(client: Client, described: LabFile, timeout: float) -> LabView:
    from weft.api.gvr import LINKS
    from weft.api.status import ApiError
    from weft.network.topology.reader import read_topology
    from weft.network.topology.resources import object_name

    deadline = time.monotonic() + timeout
    obj, namespace = described.topology, described.namespace
    name = obj["metadata"]["name"]
    while not await write_lab(client, described):
        if time.monotonic() > deadline:
            raise WeftError(f"lab {name} is still being taken down")
        await asyncio.sleep(0.1)
    # Links that were cut or restored since are put back to what the file says.
    for link in read_topology(obj).links:
        full = object_name(link.name, name)
        try:
            if (await client.get(LINKS, full, namespace))["spec"].get("state", "up") != link.state:
                await set_state(client, full, namespace, link.state)
        except ApiError as error:
            if error.code != 404:
                raise
    return await settle(client, name, namespace, max(deadline - time.monotonic(), 1.0))


async def set_state(client: Client, link: str, namespace: str, state: str) -> None:
    from weft.api.gvr import LINKS

    await client.patch(LINKS, link, {"spec": {"state": state}}, "application/merge-patch+json", namespace)


def _print_lab(view: LabView) -> None:
    from weft.network.topology.drawing import draw

    for line in draw(view.model, view.cut_links()):
        click.echo(f"  {line}")


@lab.command()
@click.argument("name", required=False)
@click.option("--timeout", type=click.FloatRange(min=1), default=_SECONDS, show_default=True, help="Seconds to wait.")
@click.pass_context
def down(ctx: click.Context, name: str | None, timeout: float) -> None:
    """Take down a lab, and wait until nothing of it is left."""
    began = time.monotonic()
    gone = with_client(ctx, lambda client: _take_down(client, name, timeout))
    click.echo(f"lab {gone} is down in {time.monotonic() - began:.2f} s")


async def _take_down(client: Client, name: str | None, timeout: float) -> str:
    from weft.api.gvr import TOPOLOGIES
    from weft.api.status import ApiError

    metadata = (await choose(client, name))["metadata"]
    deadline = time.monotonic() + timeout
    try:
        await client.delete(TOPOLOGIES, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        while True:
            present = await client.get(TOPOLOGIES, metadata["name"], metadata["namespace"])
            if present["metadata"]["uid"] != metadata["uid"]:
                break
            if time.monotonic() > deadline:
                message = (present.get("status") or {}).get("message") or "nothing has happened"
                raise WeftError(f"lab {metadata['name']} is not down after {timeout:g} s: {message}")
            await asyncio.sleep(0.03)
    except ApiError as error:
        if error.code != 404:
            raise
    return str(metadata["name"])


@lab.command()
@click.argument("link")
@lab_option
@click.pass_context
def cut(ctx: click.Context, link: str, name: str | None) -> None:
    """Take LINK down, and wait until routes lead around it: those of routers' own protocols until they rest."""
    _change_link(ctx, link, name, "down", "cut")


@lab.command()
@click.argument("link")
@lab_option
@click.pass_context
def restore(ctx: click.Context, link: str, name: str | None) -> None:
    """Take LINK up again, and wait until routes may use it."""
    _change_link(ctx, link, name, "up", "restored")


def _change_link(ctx: click.Context, link: str, name: str | None, state: str, verb: str) -> None:
    async def work(client: Client) -> str:
        view = await load_view(client, name)
        obj = view.link(link)
        shown, namespace = obj["spec"]["name"], obj["metadata"]["namespace"]
        if obj["spec"].get("state", "up") == state:
            return f"link {shown} is {'cut' if state == 'down' else 'up'} already"
        before = _tables(view)
        seen = is_root() and bool(lab_kernel.speakers(view))
        found = lab_kernel.read_tables(view) if seen else {}
        began = time.monotonic()
        await set_state(client, obj["metadata"]["name"], namespace, state)
        following = asyncio.create_task(lab_kernel.follow(view, found, began)) if seen else None
        after = await settle(client, view.name, namespace, _SECONDS)
        took = time.monotonic() - began
        changed = sum(before.get(key) != table for key, table in _tables(after).items())
        said = f"link {shown} is {verb}"
        if changed or not lab_kernel.speakers(view):
            said += f"; {changed} route tables changed, all in the kernel after {took * 1000:.0f} ms"
        if following is None:
            return said
        return f"{said}; {await following}"

    click.echo(with_client(ctx, work))


def _tables(view: LabView) -> dict[str, Any]:
    return {key: obj["spec"] for (kind, key), obj in view.parts.items() if kind == "RouteTable"}


@lab.command()
@lab_option
@click.pass_context
def status(ctx: click.Context, name: str | None) -> None:
    """Show the labs that are up; of one, also its nodes and links."""
    found = with_client(ctx, labs)
    if name is None and not found:
        click.echo("no lab is up")
        return
    if name is None and len(found) > 1:
        for obj in found:
            counts = obj.get("status") or {}
            click.echo(
                f"{obj['metadata']['name']:<20} {counts.get('phase', 'Pending'):<12} {counts.get('message', '')}"
            )
        return
    view = _view(ctx, name)
    leaving = "deletionTimestamp" in view.topology["metadata"]
    now = view.topology.get("status") or {} if leaving else view.status()
    phase, message = "Terminating" if leaving else now["phase"], now.get("message")
    click.echo(f"lab {view.name}: {phase}" + (f": {message}" if message else ""))
    for node in view.model.node_names:
        there = view.find_node(node)
        if there is not None:
            said = there.get("status") or {}
            address = there["spec"].get("loopback") or there["spec"].get("address") or "-"
            click.echo(
                f"  {node:<12} {there['kind'].lower():<7} {address.partition('/')[0]:<16}"
                f" {said.get('phase', 'Pending'):<8} {said.get('netns', '')}{_protocols(said)}"
            )
    _print_lab(view)


def _protocols(status: Object) -> str:
    """What a router's own protocols have found."""
    if "neighbors" not in status:
        return ""
    states = [each.get("state", "") for each in status["neighbors"] if each["protocol"] != "bfd"]
    up = sum(state in ("Full", "Up") for state in states)
    return f"  {up} of {len(states)} neighbors up, {status.get('routes', 0)} routes"


@lab.command()
@click.argument("a")
@click.argument("b")
@lab_option
@click.pass_context
def path(ctx: click.Context, a: str, b: str, name: str | None) -> None:
    """Show the ways from node A to node B by the route tables, and by what routers found by their own protocols."""
    view = _view(ctx, name)
    if lab_kernel.speakers(view):
        need_root("see the routes that routers have found")
    ways = view.ways(a, b, lab_kernel.read_tables(view))
    if not ways:
        raise WeftError(f"there is no way from {a} to {b}")
    for nodes, cost in ways:
        click.echo(f"{' '.join(nodes)}  cost {cost}")


@lab.command()
@click.argument("a")
@click.argument("b")
@click.option("-c", "count", type=click.IntRange(min=1), default=3, show_default=True, help="How many packets.")
@lab_option
@click.pass_context
def ping(ctx: click.Context, a: str, b: str, count: int, name: str | None) -> None:
    """Ping node B from node A; the exit code is ping's."""
    need_root("ping in a lab")
    view = _view(ctx, name)
    address, namespace = view.address(b), view.namespace(a)
    view.address(a)
    for program in ("nsenter", "ping"):
        if shutil.which(program) is None:
            raise UnsupportedError(f"cannot ping: {program} is not installed")
    done = subprocess.run(
        ["nsenter", f"--net={namespace}", "ping", "-n", "-c", str(count), "-i", "0.2", "-W", "1", address], check=False
    )
    ctx.exit(done.returncode)


@lab.command()
@click.argument("a")
@click.argument("b")
@lab_option
@click.pass_context
def trace(ctx: click.Context, a: str, b: str, name: str | None) -> None:
    """Show the nodes that packets from A to B really pass."""
    from weft.cli import lab_trace

    need_root("trace in a lab")
    view = _view(ctx, name)
    address, namespace = view.address(b), view.namespace(a)
    view.address(a)
    owners = view.owners()
    click.echo(f"{a} to {b} ({address})")
    reached = False
    for answer in lab_trace.trace(namespace, address):
        node = owners.get(answer.address, "?") if answer.address else "*"
        click.echo(
            f"{answer.hop:>3}  {node:<12} {answer.address:<15} "
            + (f"{answer.milliseconds:.2f} ms" if answer.address else "")
        )
        reached = answer.reached
    if not reached:
        raise WeftError(f"{b} was not reached")
