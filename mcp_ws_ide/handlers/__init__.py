"""The Tornado side: every route of the extension, and nothing that decides what a message means."""

from __future__ import annotations

from typing import Any

from mcp_ws_ide.handlers import api
from mcp_ws_ide.handlers import editor as definitions
from mcp_ws_ide.handlers.endpoint import ServerEndpointHandler
from mcp_ws_ide.handlers.faults import FaultsHandler
from mcp_ws_ide.handlers.oauth import CallbackHandler
from mcp_ws_ide.handlers.page import PageHandler
from mcp_ws_ide.handlers.poll_requests import PollHandler, ProbeHandler
from mcp_ws_ide.handlers.static import StaticHandler
from mcp_ws_ide.handlers.tap import TapHandler

_NAME = r"(?P<name>[A-Za-z0-9._-]+)"
_ENDPOINT = r"(?P<name>[A-Za-z0-9._-]+|(?:\+[A-Za-z0-9._-]+)+)"
"""A server, or ``+a+b``: several as one."""

ROUTES: list[tuple[str, type[Any]]] = [
    (rf"/mcp-ws/servers/{_ENDPOINT}/?", ServerEndpointHandler),
    (rf"/mcp-ws/servers/{_ENDPOINT}/poll", PollHandler),
    (rf"/mcp-ws/servers/{_ENDPOINT}/probe", ProbeHandler),
    (r"/mcp-ws/?", PageHandler),
    (r"/mcp-ws/static/([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+)", StaticHandler),
    (r"/mcp-ws/oauth/callback", CallbackHandler),
    (r"/mcp-ws/api/servers", api.ServersHandler),
    (rf"/mcp-ws/api/servers/{_NAME}", api.ServerHandler),
    (rf"/mcp-ws/api/servers/{_NAME}/restart", api.RestartHandler),
    (rf"/mcp-ws/api/servers/{_NAME}/entry", api.EntryHandler),
    (rf"/mcp-ws/api/servers/{_NAME}/stop", api.StopHandler),
    (rf"/mcp-ws/api/servers/{_NAME}/stderr", api.StderrHandler),
    (rf"/mcp-ws/api/servers/{_NAME}/definition", definitions.DefinitionHandler),
    (rf"/mcp-ws/api/servers/{_NAME}/preview", definitions.PreviewHandler),
    (rf"/mcp-ws/api/servers/{_NAME}/consent", definitions.ConsentHandler),
    (rf"/mcp-ws/api/servers/{_NAME}/try", definitions.TryHandler),
    (r"/mcp-ws/api/sessions", api.SessionsHandler),
    (r"/mcp-ws/api/sessions/([0-9a-f]{1,64})", api.SessionHandler),
    (r"/mcp-ws/api/sessions/([0-9a-f]{1,64})/faults", FaultsHandler),
    (r"/mcp-ws/api/tokens", api.TokensHandler),
    (r"/mcp-ws/api/tokens/([0-9a-f]{1,64})", api.TokenHandler),
    (r"/mcp-ws/api/tickets", api.TicketsHandler),
    (r"/mcp-ws/api/health", api.HealthHandler),
    (r"/mcp-ws/api/openapi.json", api.OpenApiHandler),
    (r"/mcp-ws/api/tap", TapHandler),
]
"""Path below ``base_url`` and handler of everything this extension answers."""
