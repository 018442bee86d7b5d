"""The demo server: every MCP feature in small, to try a client, the gateway or the inspector with.

``python -m mcp_ws_ide.demo`` speaks stdio; both eras on mcp 2.x, the handshake era on mcp 1.x.
"""
