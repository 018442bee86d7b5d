"""``mcp-ws-conformance``: the wire contract (docs/reference/binding.md) as checks against any implementation.

:mod:`.server` checks a WebSocket MCP endpoint, :mod:`.client` a client, with a scripted gateway. The checks share no
code with the gateway and its clients, so that no fault of these hides itself: of the package they use the version and
what makes text safe for a terminal.
"""
