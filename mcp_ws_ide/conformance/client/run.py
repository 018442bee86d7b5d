"""Check a client."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable

from mcp_ws_ide.conformance.client.play import ClientFacts, ClientTarget, Play
from mcp_ws_ide.conformance.client.scripts import CLIENT, NEEDS
from mcp_ws_ide.conformance.running import Run, perform, perform_all
from mcp_ws_ide.conformance.verdicts import Check, NotReachedError, Result, selected

__all__ = ["CLIENT", "NoClientError", "check_client"]


class NoClientError(Exception):
    """Nothing can be checked: the command opens no link."""


async def check_client(
    target: ClientTarget, only: list[str], on_begin: Callable[[Check], None] = lambda check: None
) -> Run:
    """Run the selected checks against a client, whose command is started for each.

    Raises:
        NoClientError: it opens no link.
    """
    began = time.monotonic()
    facts = await _survey(target)

    async def one(check: Check) -> Result:
        play = Play(target, facts)
        lacking = "" if facts.resumable else next((NEEDS[need] for need in check.needs), "")
        try:
            return await perform(check, play, lacking, play.exchange, target.timeout)
        finally:
            await play.leave()

    results = await perform_all(selected(CLIENT.in_order(), only, True), one, on_begin)
    offered = ", ".join(facts.offered) or "no subprotocol"
    about = f"offers {offered}{f', {facts.agent}' if facts.agent else ''}"
    return Run("client", shlex.join(target.command), about, results, time.monotonic() - began)


async def _survey(target: ClientTarget) -> ClientFacts:
    facts = ClientFacts()
    play = Play(target, facts)
    try:
        await play.link()
        facts.offered = play.offers[0]
    except NotReachedError as error:
        raise NoClientError(f"{shlex.join(target.command)}: {error}") from None
    finally:
        await play.leave()
    return facts
