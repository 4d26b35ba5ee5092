"""Removes every object of the kernel's network that bears the instance's name, and only those.

It needs no running Weft and no record: names tell.
"""

import asyncio
import contextlib

from weft.core.errors import NotFoundError, UnsupportedError
from weft.core.settings import Settings
from weft.network.cluster import firewalls, host
from weft.network.cluster.nftables import Nftables
from weft.network.southbound import netns
from weft.network.southbound import rtnetlink as rt
from weft.network.southbound.netlink import Netlink


async def remove_all(settings: Settings) -> None:
    """Labs, sandboxes, links, rules; one that is gone already is no error."""
    await asyncio.to_thread(_remove_all, settings)


def _remove_all(settings: Settings) -> None:
    name = settings.instance
    for path in netns.SHOWN.glob(f"{name}-*"):
        netns.delete(path)
    for path in (settings.paths.run / "netns").glob("*"):
        netns.delete(path)
    for path in (settings.paths.run / "sandboxes").glob("*.json"):
        path.unlink(missing_ok=True)
    with Netlink() as netlink:
        ours = [rt.delete_link(link) for link in netlink.links() if _is_ours(link, name)]
        netlink.request(*ours, ignore=(NotFoundError,))
    with contextlib.suppress(UnsupportedError):
        nftables = Nftables()
        nftables.delete_table(name)
        firewalls.withdraw(settings, nftables)
    host.restore_forwarding(settings)


def _is_ours(link: str, instance: str) -> bool:
    """The bridge `INSTANCE0`, or a veth `INSTANCE` + 8 hex digits."""
    rest = link.removeprefix(instance)
    return link.startswith(instance) and (
        rest == "0" or (len(rest) == 8 and all(digit in "0123456789abcdef" for digit in rest))
    )
