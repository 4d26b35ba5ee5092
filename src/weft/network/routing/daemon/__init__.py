"""Routing protocols on real interfaces: `sockets`, `kernel`, and the `driver` that runs cores on them."""

from weft.network.routing.daemon.driver import RouterDriver, RouterHost

__all__ = ["RouterDriver", "RouterHost"]
