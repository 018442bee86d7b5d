"""The other gateways of an engine, as one gateway sees them. :mod:`mcp_ws_ide.fleet` implements it."""

from __future__ import annotations

from typing import Protocol

import msgspec

from mcp_ws_ide.core.tools import ToolRules
from mcp_ws_ide.errors import McpWsError
from mcp_ws_ide.gateway.handed_out import ContinuedCall
from mcp_ws_ide.links.base import LinkInfo, Rebindable


class PeerUnreachableError(McpWsError):
    """A gateway that may live does not answer; the text says which, and why."""


class PassedRequest(msgspec.Struct):
    """An HTTP request that one gateway has authorized, and another answers.

    Attributes:
        path: its path below ``{base_url}mcp-ws/``, with the query, which holds no credential.
        headers: those that describe the message.
        principal: who makes it.
        remote: IP address of the client.
        token_id, tools: the gateway token that was presented, and the tools that it allows.
    """

    method: str
    path: str
    headers: list[tuple[str, str]]
    principal: str
    remote: str
    token_id: str | None
    tools: ToolRules | None


class ReplyHead(msgspec.Struct):
    """Status and headers of the response to a :class:`PassedRequest`."""

    status: int
    headers: list[tuple[str, str]]


class Reply(Protocol):
    """A response that comes from another gateway."""

    async def head(self) -> ReplyHead:
        """Return how the response begins.

        Raises:
            PeerUnreachableError: the gateway has ended, or the connection to it.
        """

    async def next(self) -> bytes | None:
        """Return the next piece of the body; None at its end.

        Raises:
            PeerUnreachableError: the gateway has ended, or the connection to it.
        """

    def close(self) -> None:
        """Take no more of it; if it is not complete, this is how the other gateway learns that the client has left."""


class Elsewhere(Protocol):
    """Where sessions are that this gateway does not have."""

    def close_links(self, reason: str) -> None:
        """Close the links whose sessions other gateways have, so that their clients reach another gateway."""

    @property
    def instance(self) -> str:
        """The id of this gateway."""

    @property
    def others(self) -> list[str]:
        """The ids of the other gateways that live."""

    def sessions_of(self, principal: str) -> int:
        """Return the number of sessions that a principal has at the other gateways, as of a second ago."""

    def have_server(self, name: str) -> bool:
        """Return whether another gateway has a server of this name, as of a second ago."""

    def owner(self, link_id: str) -> str:
        """Return the gateway that gave a link this id; ``""`` if that is this one, or the id names none."""

    async def ask(self, instance: str, request: PassedRequest, body: bytes) -> Reply | None:
        """Have another gateway answer a request; return None if it has surely ended.

        Raises:
            PeerUnreachableError: it does not answer, and may live.
        """

    async def holder(self, state: ContinuedCall) -> str:
        """Return the id of the other gateway that handed out a ``requestState``; ``""`` if none did.

        Raises:
            PeerUnreachableError: none says so, and one that may live does not answer.
        """

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
