"""The HTTP side, built on Tornado: :data:`ROUTES` lists every route. What a message means is decided elsewhere."""

from __future__ import annotations

from typing import Any

from mcp_ws_ide.handlers.api import definitions, health, network, servers, sessions, tokens
from mcp_ws_ide.handlers.api.faults import FaultsHandler
from mcp_ws_ide.handlers.endpoint import ServerEndpointHandler
from mcp_ws_ide.handlers.oauth import CallbackHandler
from mcp_ws_ide.handlers.page import PageHandler
from mcp_ws_ide.handlers.poll_requests import PollHandler, ProbeHandler
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
    (r"/mcp-ws/static/([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+)", StaticHandler),
    (r"/mcp-ws/oauth/callback", CallbackHandler),
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
