"""ExaBGP 4's configuration for a peer, and the commands of its API that announce and withdraw.

In: a `BgpPeer`, sets of announcements. Out: text. Source: github.com/Exa-Networks/exabgp, wiki: Configuration, API.
"""

from collections.abc import Set
from ipaddress import IPv4Address

from weft.network.routing.bgp.announce import Announcement
from weft.network.routing.bgp.config import BgpPeer

_MULTI_HOP_TTL = 255


def configuration(peer: BgpPeer, source: IPv4Address, helper: str) -> str:
    """`helper` is the command that hands ExaBGP its commands, and takes its news as JSON."""
    neighbor = [
        f"router-id {peer.router_id or source};",
        f"local-address {source};",
        f"local-as {peer.my_asn};",
        f"peer-as {peer.peer_asn};",
        f"hold-time {peer.hold_time};",
        f"connect {peer.port};",
    ]
    if peer.password:
        neighbor.append(f"md5-password '{peer.password}';")
    if peer.multi_hop:
        neighbor.append(f"outgoing-ttl {_MULTI_HOP_TTL};")
    neighbor += ["family { ipv4 unicast; }", "api { processes [ services ]; neighbor-changes; }"]
    lines = [
        "process services {", f"  run {helper};", "  encoder json;", "}",
        f"neighbor {peer.address} {{", *(f"  {line}" for line in neighbor), "}", "",
    ]  # fmt: skip
    return "\n".join(lines)


def commands(before: Set[Announcement], after: Set[Announcement]) -> list[str]:
    """From one set of announcements to another; one with other attributes takes the place of what was."""
    kept = {each.prefix for each in after}
    withdrawn = sorted({each.prefix for each in before} - kept)
    lines = [f"withdraw route {prefix} next-hop self" for prefix in withdrawn]
    for each in sorted(after - before, key=lambda each: each.prefix):
        line = f"announce route {each.prefix} next-hop self"
        if each.local_pref is not None:
            line += f" local-preference {each.local_pref}"
        if each.communities:
            line += f" community [ {' '.join(each.communities)} ]"
        lines.append(line)
    return lines
