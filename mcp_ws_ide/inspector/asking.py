"""Ask servers for their definitions, over a session of its own each: all pages of all lists, at any length.

Records are cut at 16 KiB, which a list of tools often exceeds; asked for, it is whole.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterable
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from mcp_ws_ide.core.messages import NEWEST_HANDSHAKE
from mcp_ws_ide.discovery import RunningGateway, endpoint_url
from mcp_ws_ide.errors import ConnectError
from mcp_ws_ide.inspector.model.catalogue import LISTS
from mcp_ws_ide.inspector.model.copy_forms import INITIALIZED
from mcp_ws_ide.inspector.model.definitions import KINDS, Listing, ServerDefinitions
from mcp_ws_ide.inspector.model.records import part
from mcp_ws_ide.inspector.replay import Opening

TIMEOUT: Final = 60.0
"""Seconds in which a server must start and answer everything."""
MAX_PAGES: Final = 1000
OFFERED: Final = {"tools": "tools", "prompts": "prompts", "resourceTemplates": "resources"}
"""The capability of a server that has each kind of definitions."""


class CannotAskError(Exception):
    """A server's definitions cannot be had; the text says why."""


async def ask(
    gateway: RunningGateway, names: Iterable[str]
) -> tuple[dict[str, ServerDefinitions], dict[str, str]]:
    """Return the definitions of servers, and why those of others could not be had, each by server."""
    servers, failures = dict[str, ServerDefinitions](), dict[str, str]()
    for name in names:
        try:
            async with asyncio.timeout(TIMEOUT):
                servers[name] = await _of_server(gateway, name)
        except TimeoutError:
            failures[name] = f"no complete response within {TIMEOUT:g} s"
        except (ConnectError, CannotAskError, ConnectionClosed, ValueError) as error:
            failures[name] = str(error)
    return servers, failures


async def _of_server(gateway: RunningGateway, name: str) -> ServerDefinitions:
    headers = {"Authorization": f"Bearer {gateway.token}"} if gateway.token else {}
    async with Opening(endpoint_url(gateway, name), headers) as link:
        conversation = _Conversation(link)
        client = {"name": "mcp-ws-inspect", "version": "1"}
        hello = {"protocolVersion": NEWEST_HANDSHAKE, "capabilities": {}, "clientInfo": client}
        result = await conversation.call("initialize", hello)
        await link.send(INITIALIZED)
        server = ServerDefinitions(introduced=True)
        instructions = result.get("instructions")
        server.instructions[instructions if isinstance(instructions, str) else ""] = None
        for method, (kind, key) in LISTS.items():
            if kind in KINDS and part(result, "capabilities", OFFERED[kind]) is not None:
                server.lists[kind] = await conversation.listing(method, kind, key)
        return server


class _Conversation:
    """Requests on one link, one after the other; the server's own get no more than a refusal."""

    def __init__(self, link: ClientConnection) -> None:
        self._link = link
        self._ids = itertools.count(1)

    async def call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Return the result of a request.

        Raises:
            CannotAskError: it was answered with an error, or with something that is not a result.
        """
        number = next(self._ids)
        await self._link.send(
            json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        )
        while True:
            message = json.loads(await self._link.recv())
            if part(message, "method") is not None:
                if "id" in message:
                    await self._refuse(message)
            elif part(message, "id") == number:
                result = part(message, "result")
                if isinstance(result, dict):
                    return result
                raise CannotAskError(f"{method}: {part(message, 'error', 'message') or 'no result'}")

    async def _refuse(self, message: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] == "ping":
            answer["result"] = {}
        else:
            answer["error"] = {"code": -32601, "message": "this client only lists definitions"}
        await self._link.send(json.dumps(answer))

    async def listing(self, method: str, kind: str, key: str) -> Listing:
        """Return a list, over all its pages; an optional list that the server does not have is empty."""
        listing, cursor = Listing(), None
        for _ in range(MAX_PAGES):
            try:
                result = await self.call(method, {} if cursor is None else {"cursor": cursor})
            except CannotAskError:
                if kind != "resourceTemplates" or cursor is not None:
                    raise
                result = {kind: []}  # servers with resources need not have templates
            entries, following = result.get(kind), result.get("nextCursor")
            following = following if isinstance(following, str) else None
            listing.add(key, entries if isinstance(entries, list) else [], None, cursor, following)
            if following is None:
                return listing
            cursor = following
        raise CannotAskError(f"{method} has more than {MAX_PAGES} pages")
