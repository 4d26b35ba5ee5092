"""Addresses of sandboxes."""

from ipaddress import IPv4Network

import pytest

from weft.core.errors import UnavailableError
from weft.network.cluster.sandboxes import free_address

SMALL = IPv4Network("10.9.0.0/28")


def test_all_are_given_out_once_and_then_none_is_left() -> None:
    taken: set[str] = set()
    for _ in range(13):
        address = free_address(SMALL, taken)
        assert address not in taken
        taken.add(address)
    assert taken == {f"10.9.0.{n}" for n in range(2, 15)}  # not the network's, the gateway's, nor the broadcast address
    with pytest.raises(UnavailableError, match=r"no address is left in 10\.9\.0\.0/28"):
        free_address(SMALL, taken)


def test_a_freed_address_is_not_the_next() -> None:
    chosen = [free_address(IPv4Network("10.9.0.0/16"), set()) for _ in range(50)]
    assert len(set(chosen)) > 40
