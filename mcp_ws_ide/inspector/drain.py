"""The command ``drain``: have a gateway give its sessions to the others of its engine, before it is stopped.

Exit codes: 0 it drains, or with ``--wait`` has given away what can move; 1 it refused, cannot be reached, or needs
longer than ``--timeout``.
"""

from __future__ import annotations

import argparse
import time
from typing import Any, Final

from mcp_ws_ide.inspector.durations import seconds
from mcp_ws_ide.inspector.sources import AddCommand, Find, say
from mcp_ws_ide.rest_client import GatewayClient

LOOK_SECONDS: Final = 0.25
"""Seconds between two looks at how far the gateway is."""
WAIT_SECONDS: Final = 60.0
"""Seconds that ``--wait`` waits, unless ``--timeout`` says otherwise."""


def add(known: Any, command: AddCommand) -> None:
    """Add the command to the command line."""
    drain = command(
        known, "drain", run_drain, "move a gateway's sessions to the gateways that share its engine"
    )
    drain.add_argument(
        "--instance",
        metavar="ID",
        help="the gateway, or the beginning of its id (default: the one at the URL)",
    )
    drain.add_argument(
        "--wait",
        action="store_true",
        help="return when it has no session left that can move, and no request in flight; for a preStop hook",
    )
    drain.add_argument(
        "--timeout", type=seconds, default=WAIT_SECONDS, help="how long --wait waits (default 60s)"
    )


def run_drain(find: Find, options: argparse.Namespace) -> int:
    """Run ``drain``."""
    client = GatewayClient(find())
    instance = _instance(client, options.instance)
    if instance is None:
        return 1
    left = client.call("POST", f"instances/{instance}/drain")["to_drain"]
    deadline = time.monotonic() + options.timeout
    while options.wait and left:
        if time.monotonic() > deadline:
            say(f"{left} sessions have requests in flight, or did not move, after {options.timeout:g} s")
            return 1
        time.sleep(LOOK_SECONDS)
        left = _left(client, instance)
    say(f"gateway {instance} drains; {left} sessions are left that can move or have requests in flight")
    return 0


def _instance(client: GatewayClient, wanted: str | None) -> str | None:
    """Return the id of the gateway to drain; report why there is none."""
    known = client.instances()
    if not known:
        say(
            "this gateway shares its sessions with no other, so that none can take them; stop Jupyter instead"
        )
        return None
    fit = [one["id"] for one in known if (one["id"].startswith(wanted) if wanted else one["self"])]
    if len(fit) == 1:
        return str(fit[0])
    what = "does not exist" if not fit else "is the beginning of several ids"
    say(f"gateway {wanted!r} {what}; gateways: {', '.join(one['id'] for one in known)}")
    return None


def _left(client: GatewayClient, instance: str) -> int:
    """Return how many sessions a gateway still has to give away; 0 if it has ended."""
    for one in client.instances():
        if one["id"] == instance:  # another gateway may not have seen yet that this one drains
            return int(one["to_drain"]) if one["draining"] else 1
    return 0
