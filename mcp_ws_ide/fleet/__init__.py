"""Several gateways on one engine: which are alive, which one serves a session, and how a link reaches it."""

from mcp_ws_ide.fleet.fleet import Fleet
from mcp_ws_ide.fleet.instances import InstanceFacts, Instances

__all__ = ["Fleet", "InstanceFacts", "Instances"]
