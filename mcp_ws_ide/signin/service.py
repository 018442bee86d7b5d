"""What signing in needs for as long as the gateway runs: approvals, registrations, and the documents of clients."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from mcp_ws_ide.signin.approvals import Approvals
from mcp_ws_ide.signin.clients import BadClientError, Client
from mcp_ws_ide.signin.registrations import Registrations
from mcp_ws_ide.tokens import TokenStore

if TYPE_CHECKING:
    from mcp_ws_ide.signin.documents import ClientDocuments
    from mcp_ws_ide.signin.protocol import SignInServer

UNKNOWN_CLIENT = (
    "this client is not known here; remove the server from it and add it again, so that it registers anew"
)


class SignInService:
    """The authorization server of a gateway.

    Args:
        revoked: called with the token id of an approval that ends early.
        key: returns the key that signs registrations.
    """

    def __init__(self, store: TokenStore, revoked: Callable[[str], None], key: Callable[[], bytes]) -> None:
        self.approvals = Approvals(store, revoked)
        self.registrations = Registrations(key)

    @cached_property
    def documents(self) -> ClientDocuments:
        """The documents of clients."""
        from mcp_ws_ide.signin.documents import ClientDocuments  # imports an HTTP client

        return ClientDocuments()

    async def client(self, client_id: str) -> Client:
        """Return the client with an id, whose document may have to be fetched.

        Raises:
            BadClientError: there is no usable one.
        """
        if client_id.startswith("https:"):
            return await self.documents.client(client_id)
        client = self.registrations.find(client_id)
        if client is None:
            raise BadClientError(UNKNOWN_CLIENT if client_id else "client_id is missing")
        return client

    def holder(self, client_id: str) -> Client | None:
        """Return the client that presents a code or a token; nothing is fetched, because only its id matters then."""
        if client_id.startswith("https:"):
            from mcp_ws_ide.signin.documents import problem_of_id

            return Client(client_id) if problem_of_id(client_id) is None else None
        return self.registrations.find(client_id, expired=True)

    def server(self, issuer: str, find_client: Callable[[str], Client | None]) -> SignInServer:
        """Return the server that answers one request to ``issuer``."""
        from mcp_ws_ide.signin.protocol import SignInServer

        return SignInServer(issuer, self.approvals, self.registrations, find_client)
