"""Check an endpoint."""

from __future__ import annotations

import time
from collections.abc import Callable

from mcp_ws_ide.conformance.running import Run, perform, perform_all
from mcp_ws_ide.conformance.server import credentials, frames, messages, opening, resuming
from mcp_ws_ide.conformance.server.registry import SERVER, lacking
from mcp_ws_ide.conformance.server.target import Facts, Probe, Target, survey
from mcp_ws_ide.conformance.verdicts import Check, Result, selected

__all__ = ["SERVER", "check_server", "credentials", "frames", "messages", "opening", "resuming"]


async def check_server(
    target: Target, only: list[str], slow: bool, on_begin: Callable[[Check], None] = lambda check: None
) -> Run:
    """Run the selected checks against an endpoint.

    Raises:
        UnreachableError: it opens no WebSocket.
    """
    began = time.monotonic()
    facts = await survey(target)
    checks = selected(SERVER.in_order(), only, slow)

    async def one(check: Check) -> Result:
        probe = Probe(target, facts)
        try:
            return await perform(check, probe, lacking(probe, check.needs), probe.exchange, target.timeout)
        finally:
            await probe.leave()

    results = await perform_all(checks, one, on_begin)
    wished = {check.id for check in checks}
    left_out = [check.id for check in selected(SERVER.in_order(), only, True) if check.id not in wished]
    return Run("server", target.url, about(target, facts), results, time.monotonic() - began, left_out)


def about(target: Target, facts: Facts) -> str:
    """What the endpoint has, in one line."""
    eras = " and ".join(facts.eras) or "no"
    parts = [
        f"subprotocol {facts.selected or 'none'}",
        f"{eras} era{'s' if len(facts.eras) == 2 else ''}",
        f"checked in the {target.era or facts.eras[0]} era" if facts.eras else "",
        f"server {facts.server}" if facts.server else "",
    ]
    return ", ".join(filter(None, parts))
