"""The demo server: a small example of every MCP feature, to try a client, the gateway or the inspector with.

``python -m mcp_ws_ide.demo`` serves it over stdio; both eras on mcp 2.x, the handshake era on mcp 1.x.
"""
