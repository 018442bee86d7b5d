"""The HTTP side, built on Tornado: :data:`ROUTES` lists every route. What a message means is decided elsewhere."""

from __future__ import annotations

import re
from typing import Any

from mcp_ws_ide.handlers.api import definitions, health, network, servers, sessions, tokens
from mcp_ws_ide.handlers.api.faults import FaultsHandler
from mcp_ws_ide.handlers.api.unknown import UnknownHandler
from mcp_ws_ide.handlers.app_frame import AppFrameHandler
from mcp_ws_ide.handlers.endpoint import ServerEndpointHandler
from mcp_ws_ide.handlers.oauth import CallbackHandler, ClientDocumentHandler
from mcp_ws_ide.handlers.page import PageHandler
from mcp_ws_ide.handlers.poll_requests import PollHandler, ProbeHandler
from mcp_ws_ide.handlers.signin import metadata
from mcp_ws_ide.handlers.signin import tokens as oauth_tokens
from mcp_ws_ide.handlers.signin.page import AuthorizeHandler
from mcp_ws_ide.handlers.static import StaticHandler
from mcp_ws_ide.handlers.tap import TapHandler

_NAME = r"(?P<name>[^/]+)"
"""A server, or for endpoints ``+a+b``, a group of servers, in any spelling; unknown ones are refused in JSON."""

ROUTES: list[tuple[str, type[Any]]] = [
    (rf"/mcp-ws/servers/{_NAME}/?", ServerEndpointHandler),
    (rf"/mcp-ws/servers/{_NAME}/poll", PollHandler),
    (rf"/mcp-ws/servers/{_NAME}/probe", ProbeHandler),
    (r"/mcp-ws/servers(?P<name>|/.*)", ServerEndpointHandler),  # no server, or a name with slashes
    (r"/mcp-ws/?", PageHandler),
    (r"/mcp-ws/app-frame", AppFrameHandler),
    (r"/mcp-ws/static/([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+)", StaticHandler),
    (r"/mcp-ws/oauth/callback", CallbackHandler),
    (r"/mcp-ws/oauth/client.json", ClientDocumentHandler),
    (r"/mcp-ws/api/servers", servers.ServersHandler),
    (rf"/mcp-ws/api/servers/{_NAME}", servers.ServerHandler),
    (rf"/mcp-ws/api/servers/{_NAME}/restart", servers.RestartHandler),
    (rf"/mcp-ws/api/servers/{_NAME}/entry", tokens.EntryHandler),
    (rf"/mcp-ws/api/servers/{_NAME}/stop", servers.StopHandler),
    (rf"/mcp-ws/api/servers/{_NAME}/stderr", servers.StderrHandler),
    (rf"/mcp-ws/api/servers/{_NAME}/definition", definitions.DefinitionHandler),
    (rf"/mcp-ws/api/servers/{_NAME}/preview", definitions.PreviewHandler),
    (rf"/mcp-ws/api/servers/{_NAME}/consent", definitions.ConsentHandler),
    (rf"/mcp-ws/api/servers/{_NAME}/try", definitions.TryHandler),
    (r"/mcp-ws/api/client-files", definitions.ClientFilesHandler),
    (r"/mcp-ws/api/sessions", sessions.SessionsHandler),
    (r"/mcp-ws/api/sessions/([0-9a-f]{1,64})", sessions.SessionHandler),
    (r"/mcp-ws/api/sessions/([0-9a-f]{1,64})/faults", FaultsHandler),
    (r"/mcp-ws/api/tokens", tokens.TokensHandler),
    (r"/mcp-ws/api/tokens/([0-9a-f]{1,64})", tokens.TokenHandler),
    (r"/mcp-ws/api/tickets", tokens.TicketsHandler),
    (r"/mcp-ws/api/health", health.HealthHandler),
    (r"/mcp-ws/api/live", health.LiveHandler),
    (r"/mcp-ws/api/ready", health.ReadyHandler),
    (r"/mcp-ws/api/instances", health.InstancesHandler),
    (r"/mcp-ws/api/instances/([0-9a-f]{1,64})/drain", health.DrainHandler),
    (r"/mcp-ws/api/network", network.NetworkHandler),
    (r"/mcp-ws/api/openapi.json", health.OpenApiHandler),
    (r"/mcp-ws/api/tap", TapHandler),
]
"""Paths below ``base_url``, and their handlers."""

_METADATA = r"\.well-known/(?:oauth-authorization-server|openid-configuration)"

SIGN_IN_ROUTES: list[tuple[str, type[Any]]] = [
    (rf"/mcp-ws/servers/{_NAME}/\.well-known/oauth-protected-resource", metadata.ResourceMetadataHandler),
    (rf"/mcp-ws/sign-in/{_METADATA}", metadata.ServerMetadataHandler),
    (r"/mcp-ws/sign-in/jwks", metadata.KeysHandler),
    (r"/mcp-ws/sign-in/authorize", AuthorizeHandler),
    (r"/mcp-ws/sign-in/token", oauth_tokens.TokenHandler),
    (r"/mcp-ws/sign-in/register", oauth_tokens.RegisterHandler),
    (r"/mcp-ws/sign-in/revoke", oauth_tokens.RevokeHandler),
]
"""Paths below ``base_url`` with which clients sign in; all but ``authorize`` are for everybody."""


def root_routes(base_url: str) -> list[tuple[str, type[Any]]]:
    """Return the paths from the root at which clients look for metadata (RFC 8414 and RFC 9728, section 3.1)."""
    base = re.escape(base_url)
    return [
        (
            rf"/\.well-known/oauth-protected-resource{base}mcp-ws/servers/{_NAME}/?",
            metadata.ResourceMetadataHandler,
        ),
        (rf"/{_METADATA}{base}mcp-ws/sign-in/?", metadata.ServerMetadataHandler),
        (
            rf"/{_METADATA}",
            metadata.ServerMetadataHandler,
        ),  # for clients of 2025-03-26, which look nowhere else
    ]


UNKNOWN: tuple[str, type[Any]] = (r"/mcp-ws(?:/.*)?", UnknownHandler)
"""Every other path; Jupyter would read a body of any size, at any pace, before it says that there is nothing."""
