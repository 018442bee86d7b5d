"""The checks of a WebSocket MCP client: a scripted gateway, against which the client's command runs."""
