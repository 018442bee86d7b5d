"""A test of the network path from this terminal to a gateway: what proxies do to WebSockets and long requests.

What only this side notices is reported to the gateway, which lists it with its own observations.
"""

from __future__ import annotations

from mcp_ws_ide.errors import ConnectError
from mcp_ws_ide.rest_client import GatewayClient
from mcp_ws_ide.sanitise import visible


def test_path(client: GatewayClient) -> list[str]:
    """Test the path to a gateway; return a sentence for each problem that anyone has noticed on it within an hour.

    With a gateway token, which gives no access to this list, return none.
    """
    if client.has_gateway_token:
        return []
    try:
        codes = [code for code in (client.blocked_handshake(), client.refused_length()) if code]
        if codes:
            client.call("POST", "network", {"codes": codes})
        listed = client.call("GET", "network").get("network", [])
    except ConnectError:
        return []
    return [visible(f"{entry['message']}; {entry['cure']}") for entry in listed]
