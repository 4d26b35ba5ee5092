"""`weft lab watch` and `weft lab flap`: see what happens in a lab as it happens, and make a link go down and up again.

In: changes of a lab's Routers, Links and RouteTables, by watches. Out: a line for each thing that is another than
before (`differences` is pure).
"""

import asyncio
import time
from collections.abc import Iterator

import click

from weft.cli.lab import lab_option, load_view, set_state, with_client
from weft.client.base import Client, Object
from weft.client.informer import Informer
from weft.network.topology.resources import LAB_LABEL, PARTS

_KINDS = ("Router", "Link", "RouteTable")


def differences(old: Object | None, new: Object | None) -> Iterator[str]:
    """What is worth a line when an object of a lab changes."""
    obj = new or old
    assert obj is not None
    kind, name = obj["kind"], obj["spec"].get("name") or obj["spec"]["node"]
    if old is None or new is None:
        if kind != "RouteTable":
            yield f"{kind.lower()} {name} is {'gone' if new is None else 'there'}"
        return
    was, now = old.get("status") or {}, new.get("status") or {}
    if kind == "Link":
        for field, said in (("spec", "wanted "), ("status", "")):
            before, after = ((each.get(field) or {}).get("state") for each in (old, new))
            if before != after and before is not None:
                yield f"link {name}: {said}{before} -> {after}"
    elif kind == "Router":
        before, after = _neighbors(was), _neighbors(now)
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                yield f"router {name}: {' '.join(key)} {before.get(key, '-')} -> {after.get(key, 'gone')}"
        if was.get("routes") != now.get("routes"):
            yield f"router {name}: {was.get('routes', 0)} -> {now.get('routes', 0)} routes"
        if was.get("phase") != now.get("phase"):
            yield f"router {name}: {was.get('phase', '-')} -> {now.get('phase', '-')}"
    elif old["spec"].get("routes") != new["spec"].get("routes"):
        yield f"router {name}: new routes from the controller ({len(new['spec'].get('routes') or [])})"


def _neighbors(status: Object) -> dict[tuple[str, str, str], str]:
    return {
        (each["protocol"], each["interface"], each["address"]): each.get("state", "")
        for each in status.get("neighbors") or []
    }


@click.command()
@lab_option
@click.option("--seconds", type=click.FloatRange(min=0.1), help="End after so long.  [default: never]")
@click.pass_context
def watch(ctx: click.Context, name: str | None, seconds: float | None) -> None:
    """Tell of links, neighbours and routes of a lab as they change, until interrupted."""

    async def work(client: Client) -> None:
        view = await load_view(client, name)
        began = time.monotonic()
        is_listing = True

        def changed(old: Object | None, new: Object | None) -> None:
            if is_listing:
                return
            for line in differences(old, new):
                click.echo(f"{time.monotonic() - began:8.3f}  {line}")

        informers = [Informer(client, PARTS[kind], label_selector=f"{LAB_LABEL}={view.name}") for kind in _KINDS]
        for informer in informers:
            informer.on_change(changed)
        tasks = [asyncio.create_task(informer.run()) for informer in informers]
        try:
            for informer in informers:
                await informer.synced()
            is_listing = False
            click.echo(f"watching lab {view.name}: interrupt to end", err=True)
            await (asyncio.sleep(seconds) if seconds is not None else asyncio.Event().wait())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    with_client(ctx, work)


@click.command()
@click.argument("link")
@lab_option
@click.option("--count", type=click.IntRange(1, 1000), default=3, show_default=True, help="How often it goes down.")
@click.option("--period", type=click.FloatRange(0.1, 60), default=1.0, show_default=True, help="Seconds down, and up.")
@click.pass_context
def flap(ctx: click.Context, link: str, name: str | None, count: int, period: float) -> None:
    """Take LINK down and up again, some times; it ends up."""

    async def work(client: Client) -> str:
        view = await load_view(client, name)
        obj = view.link(link)
        full, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
        try:
            for _ in range(count):
                await set_state(client, full, namespace, "down")
                await asyncio.sleep(period)
                await set_state(client, full, namespace, "up")
                await asyncio.sleep(period)
        finally:
            await set_state(client, full, namespace, "up")
        return f"link {obj['spec']['name']} went down and up {count} times"

    click.echo(with_client(ctx, work))
