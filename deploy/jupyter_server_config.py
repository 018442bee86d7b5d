"""The configuration of each gateway of several, from environment variables: for make fleet, compose and Kubernetes.

JUPYTER_TOKEN, which Jupyter reads itself, must be the same everywhere; so must the file MCP_WS_KEYS_FILE.
"""

import hashlib
import os
import socket

c = get_config()  # type: ignore[name-defined]  # noqa: F821
environ = os.environ

c.ServerApp.ip = environ.get("MCP_WS_LISTEN", "0.0.0.0")  # noqa: S104 - in a container
c.ServerApp.port = int(environ.get("MCP_WS_PORT", "8888"))
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
c.ServerApp.allow_remote_access = True
c.ServerApp.allow_root = environ.get("MCP_WS_ALLOW_ROOT") == "1"
c.ServerApp.trust_xheaders = True
# A login at one gateway is valid at all.
c.ServerApp.cookie_secret = hashlib.sha256(b"cookies " + environ["JUPYTER_TOKEN"].encode()).digest()

c.MCPWebSocketApp.server_files = [environ["MCP_WS_SERVERS_FILE"]]
c.MCPWebSocketApp.allow_editing = False  # a file of one gateway would differ from those of the others
c.MCPWebSocketApp.engine = environ["MCP_WS_ENGINE"]
c.MCPWebSocketApp.engine_keys_file = environ["MCP_WS_KEYS_FILE"]
c.MCPWebSocketApp.engine_allow_unencrypted = environ.get("MCP_WS_ALLOW_UNENCRYPTED") == "1"
# Where the other gateways reach this one: the address of the container or pod.
c.MCPWebSocketApp.peer_address = (
    environ.get("MCP_WS_PEER") or f"{socket.gethostbyname(socket.gethostname())}:7800"
)
c.MCPWebSocketApp.drain_timeout = float(environ.get("MCP_WS_DRAIN_SECONDS", "10"))
if "MCP_WS_PUBLIC_URL" in environ:
    c.MCPWebSocketApp.public_url = environ["MCP_WS_PUBLIC_URL"]
