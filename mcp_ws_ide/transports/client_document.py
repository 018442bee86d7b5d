"""The gateway as a client of authorization servers: the document that describes it, and whose address is its id there
(draft-ietf-oauth-client-id-metadata-document; MCP 2026-07-28, basic/authorization/client-registration)."""

from __future__ import annotations

from typing import Any, Final

CLIENT_NAME: Final = "mcp-ws-ide"
"""What authorization servers call the gateway when they ask a user."""
CLIENT_DOCUMENT: Final = "mcp-ws/oauth/client.json"
"""Path of the document below the public URL."""


def client_document(url: str, redirect_uri: str) -> dict[str, Any]:
    """Return the document.

    Args:
        url: its address.
        redirect_uri: where authorization servers send the browser back.
    """
    return {
        "client_id": url,
        "client_name": CLIENT_NAME,
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "web",
    }
