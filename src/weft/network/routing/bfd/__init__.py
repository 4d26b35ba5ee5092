"""Bidirectional Forwarding Detection (RFC 5880) over one hop (RFC 5881), in asynchronous mode."""

from weft.network.routing.bfd.config import BfdConfig
from weft.network.routing.bfd.core import Bfd

__all__ = ["Bfd", "BfdConfig"]
