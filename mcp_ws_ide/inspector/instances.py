"""The command ``instances``: list the gateways that share an engine."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from mcp_ws_ide.inspector.model.instances import described
from mcp_ws_ide.inspector.sources import AddCommand, Find, say
from mcp_ws_ide.rest_client import GatewayClient
from mcp_ws_ide.sanitise import visible


def add(known: Any, command: AddCommand) -> None:
    """Add the command to the command line."""
    listed = command(
        known, "instances", run_instances, "list the gateways that share the sessions of this one"
    )
    listed.add_argument("--json", action="store_true", help="print one JSON object per gateway")


def run_instances(find: Find, options: argparse.Namespace) -> int:
    """Run ``instances``."""
    known = GatewayClient(find()).instances()
    if not known:
        say("this gateway shares its sessions with no other: that needs engine=redis://HOST")
    for one in known:
        print(json.dumps(one) if options.json else visible(described(one, time.time())))
    return 0
