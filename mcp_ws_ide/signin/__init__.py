"""Signing in by URL: the authorization server that stands for Jupyter's own login (OAuth 2.1, MCP authorization).

A client that is refused with 401 finds this server, sends the user's browser here, and gets a gateway token once the
user, whom Jupyter has authenticated, has approved it. The protocol is Authlib's (:mod:`.protocol`, imported when
somebody signs in); clients, approvals and their storage are this package's. The routes are in
:mod:`mcp_ws_ide.handlers.signin`.
"""
