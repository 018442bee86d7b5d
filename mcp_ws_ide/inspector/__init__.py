"""``mcp-ws-inspect``: watch a running gateway from a terminal, and manage its tokens."""
