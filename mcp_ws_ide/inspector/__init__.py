"""``mcp-ws-inspect``: watch the MCP traffic of a gateway in a terminal, and manage gateway tokens."""
