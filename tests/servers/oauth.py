"""An MCP server that wants OAuth, and its authorization server on a port of its own: ``python oauth.py PORT PORT http|sse``.

Both are the SDK's. Whoever opens the authorization page consents. ``/facts`` of the authorization server tells what
was issued and asked for; ``POST /forget`` makes access tokens unknown, with ``?refresh`` refresh tokens too.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections import Counter
from typing import Any

import uvicorn
from mcp.server.auth.provider import AccessToken, AuthorizationCode, RefreshToken, construct_redirect_uri
from mcp.server.auth.routes import create_auth_routes
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.server.mcpserver import MCPServer
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

RESOURCE, ISSUER = (f"http://127.0.0.1:{port}" for port in sys.argv[1:3])
SSE = sys.argv[3] == "sse"


class Provider:
    """Everything in memory."""

    def __init__(self) -> None:
        known = OAuthClientInformationFull(
            client_id="known",
            client_secret="known-client-secret",
            redirect_uris=["http://127.0.0.1/unused"],
            token_endpoint_auth_method="client_secret_post",
            scope="read write",
        )
        self.clients: dict[str, Any] = {"known": known}
        self.codes: dict[str, AuthorizationCode] = {}
        self.access: dict[str, AccessToken] = {}
        self.refresh: dict[str, RefreshToken] = {}
        self.secrets: list[str] = ["known-client-secret"]
        self.scopes: list[Any] = []
        self.resources: list[Any] = []
        self.counts: Counter[str] = Counter()

    def secret(self, kind: str) -> str:
        self.secrets.append(f"{kind}-{secrets.token_hex(16)}")
        return self.secrets[-1]

    async def get_client(self, client_id: str) -> Any:
        return self.clients.get(client_id)

    async def register_client(self, client: OAuthClientInformationFull) -> None:
        self.counts["register"] += 1
        client.scope = "read write"  # what it may ask for, not what it has got
        self.clients[client.client_id] = client
        self.secrets += [client.client_secret] if client.client_secret else []

    async def authorize(self, client: Any, params: Any) -> str:
        self.counts["authorize"] += 1
        self.scopes.append(params.scopes)
        self.resources.append(params.resource)
        code = self.secret("code")
        self.codes[code] = AuthorizationCode(
            code=code,
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            client_id=client.client_id,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=True,
            resource=params.resource,
        )
        return construct_redirect_uri(str(params.redirect_uri), code=code, state=params.state)

    async def load_authorization_code(self, client: Any, code: str) -> Any:
        return self.codes.get(code)

    async def exchange_authorization_code(self, client: Any, code: AuthorizationCode) -> OAuthToken:
        self.counts["exchange"] += 1
        del self.codes[code.code]
        return self.tokens(client, code.scopes)

    def tokens(self, client: Any, scopes: list[str]) -> OAuthToken:
        access, refresh = self.secret("access"), self.secret("refresh")
        self.access[access] = AccessToken(token=access, client_id=client.client_id, scopes=scopes)
        self.refresh[refresh] = RefreshToken(token=refresh, client_id=client.client_id, scopes=scopes)
        return OAuthToken(access_token=access, refresh_token=refresh, expires_in=3600, scope=" ".join(scopes))

    async def load_refresh_token(self, client: Any, token: str) -> Any:
        self.counts["refresh asked"] += 1
        return self.refresh.get(token)

    async def exchange_refresh_token(self, client: Any, token: RefreshToken, scopes: list[str]) -> OAuthToken:
        self.counts["refresh"] += 1
        del self.refresh[token.token]
        return self.tokens(client, scopes)

    async def load_access_token(self, token: str) -> Any:
        return self.access.get(token)

    async def verify_token(self, token: str) -> Any:
        return self.access.get(token)

    async def revoke_token(self, token: Any) -> None:
        self.access.pop(token.token, None)


provider = Provider()
meeting = asyncio.Barrier(2)
server = MCPServer(
    "protected",
    token_verifier=provider,
    auth=AuthSettings(
        issuer_url=AnyHttpUrl(ISSUER),
        resource_server_url=AnyHttpUrl(f"{RESOURCE}/{'sse' if SSE else 'mcp'}"),
        required_scopes=["read"],
        validate_token_resource=False,
    ),
)


@server.tool()
async def echo(text: str) -> str:
    """The text."""
    return text


@server.tool()
async def save() -> str:
    """Needs the scope ``write`` (:class:`StepUp`)."""
    return "saved"


class StepUp:
    """Refuses ``save`` with RFC 6750's ``insufficient_scope`` where the token has no ``write``."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        token = provider.access.get(headers.get(b"authorization", b"").decode().removeprefix("Bearer "))
        if headers.get(b"mcp-name") == b"save" and token is not None and "write" not in token.scopes:
            challenge = 'Bearer error="insufficient_scope", scope="write"'
            return await Response(status_code=403, headers={"WWW-Authenticate": challenge})(
                scope, receive, send
            )
        await self.app(scope, receive, send)


@server.tool()
async def meet() -> str:
    """Return once two calls are here."""
    async with asyncio.timeout(60):
        await meeting.wait()
    return "met"


async def facts(request: Request) -> JSONResponse:
    return JSONResponse(
        {
            "counts": provider.counts,
            "secrets": provider.secrets,
            "scopes": provider.scopes,
            "resources": provider.resources,
        }
    )


async def forget(request: Request) -> JSONResponse:
    provider.access.clear()
    if "refresh" in request.query_params:
        provider.refresh.clear()
    return JSONResponse({})


options = ClientRegistrationOptions(enabled=True, valid_scopes=["read", "write"], default_scopes=["read"])
routes = create_auth_routes(provider, AnyHttpUrl(ISSUER), client_registration_options=options)
routes += [Route("/facts", facts), Route("/forget", forget, methods=["POST"])]


async def main() -> None:
    app = server.sse_app() if SSE else server.streamable_http_app(json_response=True)
    apps = (StepUp(app), Starlette(routes=routes))
    servers = [
        uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=int(port), log_level="warning"))
        for app, port in zip(apps, sys.argv[1:3], strict=True)
    ]
    await asyncio.gather(*(server.serve() for server in servers))


asyncio.run(main())
