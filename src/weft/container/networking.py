"""The engine's network contract; it stands in `core`, as the network that fulfils it may not import the engine."""

from weft.core.sandbox import Networking, PortBinding, Sandbox

__all__ = ["Networking", "PortBinding", "Sandbox"]
