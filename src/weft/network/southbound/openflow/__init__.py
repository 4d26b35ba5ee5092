"""OpenFlow 1.3 from the controller's side: a codec, a connection without input or output, and a server."""

from weft.network.southbound.openflow.oxm import Field, Match, OpenFlowError, field, match
from weft.network.southbound.openflow.server import Handler, OpenFlowServer, Switch

__all__ = ["Field", "Handler", "Match", "OpenFlowError", "OpenFlowServer", "Switch", "field", "match"]
