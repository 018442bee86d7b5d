"""The other gateways of an engine, as one gateway sees them. :mod:`mcp_ws_ide.fleet` implements it."""

from __future__ import annotations

from typing import Protocol

from mcp_ws_ide.errors import McpWsError
from mcp_ws_ide.links.base import LinkInfo, Rebindable


class PeerUnreachableError(McpWsError):
    """A gateway that may live does not answer; the text says which, and why."""


class Elsewhere(Protocol):
    """Where sessions are that this gateway does not have."""

    async def has_ended(self, instance: str) -> bool:
        """Return whether a gateway has surely ended, although its lease has not."""

    async def pass_on(
        self, instance: str, server: str, link: Rebindable, info: LinkInfo, hello: bytes
    ) -> None:
        """Pass a link on to the gateway that serves its session, until the link is closed.

        Args:
            server: name of the server in the URL of the link.
            hello: the first frame of the link.

        Raises:
            PeerUnreachableError: that gateway does not answer, or has ended.
        """
