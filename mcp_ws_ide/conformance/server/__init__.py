"""The checks of a WebSocket MCP endpoint."""
