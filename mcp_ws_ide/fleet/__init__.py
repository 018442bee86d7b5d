"""Several gateways on one engine: who lives, and who serves which session."""

from mcp_ws_ide.fleet.instances import InstanceFacts, Instances

__all__ = ["InstanceFacts", "Instances"]
