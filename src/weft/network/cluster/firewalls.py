"""Other firewalls on this machine: Docker, ufw and their like drop whatever they do not know of what is forwarded.

A verdict to accept in our own table does not help there, as every chain of a hook must accept (nft(8)). So our packets
are accepted at the top of each foreign chain that drops by default, by rules with a comment that tells whose they are;
what may come in to pods is still for our own table to say. Firewalls outside nf_tables (iptables-legacy) are not seen.
"""

import json
from collections.abc import Callable
from typing import Any

from weft.core.settings import Settings
from weft.network.cluster.nftables import Nftables, NftablesError

_TRIES = 5


def admit(settings: Settings, nftables: Nftables) -> None:
    """Lets the instance's packets through; run again it changes nothing."""
    _try(lambda: _admit(settings, nftables))


def withdraw(settings: Settings, nftables: Nftables) -> None:
    """Takes our rules out of others' chains."""
    _try(lambda: _withdraw(settings, nftables))


def _try(work: Callable[[], None]) -> None:
    """Others may change or remove their chains while we look at them: then we look again."""
    for _ in range(_TRIES - 1):
        try:
            return work()
        except NftablesError:
            continue
    return work()


def _admit(settings: Settings, nftables: Nftables) -> None:
    present = {_chain_of(rule) for rule in _ours(settings, nftables)}
    text = ""
    for chain in _foreign_chains(settings, nftables):
        where = f"{chain['family']} {chain['table']} {chain['name']}"
        if chain.get("policy") == "drop" and chain["family"] in ("ip", "inet") and where not in present:
            for direction in ("iifname", "oifname"):
                text += f'insert rule {where} {direction} "{settings.bridge}" accept comment "{_comment(settings)}"\n'
    if text:
        nftables.run(text)


def _withdraw(settings: Settings, nftables: Nftables) -> None:
    ours = _ours(settings, nftables)
    if ours:
        nftables.run("".join(f"delete rule {_chain_of(rule)} handle {rule['handle']}\n" for rule in ours))


def _comment(settings: Settings) -> str:
    return f"weft instance {settings.instance}"


def _ours(settings: Settings, nftables: Nftables) -> list[dict[str, Any]]:
    found = []
    for chain in _foreign_chains(settings, nftables):
        rules = _objects(nftables, f"list chain {chain['family']} {chain['table']} {chain['name']}", "rule")
        found += [rule for rule in rules if rule.get("comment") == _comment(settings)]
    return found


def _foreign_chains(settings: Settings, nftables: Nftables) -> list[dict[str, Any]]:
    """Those of others that see what is forwarded."""
    chains = _objects(nftables, "list chains", "chain")
    return [each for each in chains if each.get("hook") == "forward" and each["table"] != settings.instance]


def _chain_of(rule: dict[str, Any]) -> str:
    return f"{rule['family']} {rule['table']} {rule['chain']}"


def _objects(nftables: Nftables, command: str, kind: str) -> list[dict[str, Any]]:
    return [entry[kind] for entry in json.loads(nftables.run(command))["nftables"] if kind in entry]
