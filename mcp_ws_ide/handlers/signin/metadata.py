"""What clients read before they sign in: which authorization server an MCP endpoint has, and what that one can do."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote

from jupyter_server.auth.decorator import allow_unauthenticated
from tornado import web

from mcp_ws_ide.handlers.auth import EndpointHandler
from mcp_ws_ide.handlers.dialled import dialled_base, issuer_of, offers_sign_in, resource_of
from mcp_ws_ide.handlers.requester import http_error_message
from mcp_ws_ide.signin.clients import GRANTS, SCOPE, SCOPES

NOT_OFFERED: Final = (
    "signing in is not offered here; it needs MCPWebSocketApp.sign_in, and a Jupyter with a login"
)
UNKNOWN_ADDRESS: Final = "the address of this gateway is not known; set MCPWebSocketApp.public_url"


class OpenHandler(EndpointHandler):
    """Base of what everybody may ask: no credential is read, but Host and Origin are checked as elsewhere."""

    async def _check(self) -> None:
        if not self.check_host():
            raise self.host_refusal()
        self.check_policy()
        if self.request.method != "OPTIONS" and not offers_sign_in(self):
            raise web.HTTPError(404, NOT_OFFERED)

    def set_default_headers(self) -> None:
        """Forbid caching: the documents depend on how the gateway was dialled, and others hold tokens."""
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write an error in OAuth's form (RFC 6749 section 5.2), with the members of every error of the gateway."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        message = http_error_message(error) or self._reason
        for name, value in self.error_headers.items():
            self.set_header(name, value)
        code = "server_error" if status_code >= 500 else "invalid_request"
        self.finish({"error": code, "error_description": message, "message": message, "status": status_code})


class ResourceMetadataHandler(OpenHandler):
    """The metadata of an MCP endpoint as a protected resource (RFC 9728)."""

    @allow_unauthenticated
    def get(self, name: str) -> None:
        """Name the authorization server of an endpoint; also of one that does not exist, which only users may know."""
        resource = resource_of(self)
        if not resource:
            raise web.HTTPError(404, UNKNOWN_ADDRESS)
        self.finish(
            {
                "resource": resource,
                "authorization_servers": [issuer_of(dialled_base(self))],
                "scopes_supported": [SCOPE],
                "bearer_methods_supported": ["header"],
                "resource_name": f"MCP server {unquote(resource.rpartition('/')[2])}",
            }
        )


class ServerMetadataHandler(OpenHandler):
    """The metadata of the authorization server (RFC 8414), also where OpenID Connect Discovery has it."""

    @allow_unauthenticated
    def get(self) -> None:
        """Name the endpoints, and what they support."""
        base = dialled_base(self)
        if not base:
            raise web.HTTPError(404, UNKNOWN_ADDRESS)
        assert self.runtime.sign_in is not None
        self.finish(server_metadata(issuer_of(base), self.runtime.sign_in.documents.reachable))


def server_metadata(issuer: str, documents: bool) -> dict[str, object]:
    """Return the metadata of the authorization server with this issuer; ``documents``: whether it can fetch them."""
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "registration_endpoint": f"{issuer}/register",
        "revocation_endpoint": f"{issuer}/revoke",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANTS),
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": list(SCOPES),
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": documents,
        # Required of OpenID providers, whose document clients read where only the appended path is the gateway's; no
        # ID token is ever issued.
        "jwks_uri": f"{issuer}/jwks",
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }


class KeysHandler(OpenHandler):
    """The keys of ID tokens: none."""

    @allow_unauthenticated
    def get(self) -> None:
        """Return an empty set of keys (RFC 7517 section 5)."""
        self.finish({"keys": []})
