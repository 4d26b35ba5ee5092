"""RIP version 2: distance-vector routing (RFC 2453), with authentication (RFC 4822)."""

from weft.network.routing.rip.config import RipConfig, RipInterfaceConfig
from weft.network.routing.rip.core import Rip

__all__ = ["Rip", "RipConfig", "RipInterfaceConfig"]
