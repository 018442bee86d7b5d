"""Choose the gateway: the given address, one behind a JupyterHub, or one of several on this machine; or an endpoint."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import IO, Final
from urllib.parse import quote, urlunsplit

from mcp_ws_ide.discovery import (
    ENDPOINTS,
    RunningGateway,
    base_of,
    check_name,
    endpoint_url,
    find_gateway,
    split_address,
    undecided_gateways,
)
from mcp_ws_ide.errors import ConnectError, UnauthorizedError, UnusableArgumentError
from mcp_ws_ide.rest_client import GatewayClient, gateway_with, get_json
from mcp_ws_ide.sanitise import visible

QUICK: Final = 3.0
"""Seconds within which a local server must answer the question whether it has a gateway."""
REDIRECT: Final = "/hub/user-redirect"


class AmbiguousError(Exception):
    """Several gateways are running and there is no terminal to ask which one to use; the text lists them."""


def address(
    url: str | None, token_file: str | None = None, environ: Mapping[str, str] = os.environ
) -> str | None:
    """Return the base URL to use, or None if discovery finds the one that is meant.

    Raises:
        ConnectError: the address is behind a hub that does not name the user's server.
        AmbiguousError: several gateways are running, and there is no terminal to ask on.
    """
    if url is None and REDIRECT in environ.get("JUPYTER_SERVER_URL", ""):
        url = environ["JUPYTER_SERVER_URL"]
    if url is not None:
        return _behind_hub(url, token_file, environ) if REDIRECT in url else url
    gateways = undecided_gateways(environ)
    having = [gateway for gateway in gateways if _has_gateway(gateway)]
    if not having:
        return None
    return having[0].url if len(having) == 1 else _ask(having).url


def _has_gateway(gateway: RunningGateway) -> bool:
    try:
        GatewayClient(gateway, QUICK).call("GET", "instances")
    except ConnectError as error:
        return error.by_gateway and not isinstance(error, UnauthorizedError)
    return True


def _ask(gateways: list[RunningGateway], read: IO[str] | None = None) -> RunningGateway:
    lines = [f"  {number}  {_described(gateway)}" for number, gateway in enumerate(gateways, 1)]
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise AmbiguousError("\n".join(["several gateways are running; choose one with --url:", *lines]))
    print("\n".join(["Several gateways are running:", *lines]), file=sys.stderr)
    while True:
        print(f"Which one? [1-{len(gateways)}, default 1] ", end="", file=sys.stderr, flush=True)
        text = (read or sys.stdin).readline()
        if not text:
            raise KeyboardInterrupt
        choice = text.strip() or "1"
        if choice.isascii() and choice.isdigit() and 1 <= int(choice) <= len(gateways):
            return gateways[int(choice) - 1]


def _described(gateway: RunningGateway) -> str:
    return visible(f"{gateway.url}  pid {gateway.pid}  {gateway.root_dir}")


def _behind_hub(url: str, token_file: str | None, environ: Mapping[str, str]) -> str:
    """Resolve ``…/hub/user-redirect/…`` to the server of the token's user."""
    parts = split_address(url if "://" in url else f"https://{url}", ("http", "https"))
    prefix = parts.path[: parts.path.index(REDIRECT)]
    hub = find_gateway(
        urlunsplit((parts.scheme, parts.netloc, f"{prefix}/hub/", "", "")), None, token_file, environ
    )
    if not hub.token:
        withheld = f" ({hub.withheld})" if hub.withheld else ""
        raise ConnectError(
            f"{url} needs a hub token; give --token-file or set JUPYTERHUB_API_TOKEN{withheld}"
        )
    user = get_json(f"{hub.url}api/user", {"Authorization": f"token {hub.token}"})
    name = user.get("name")
    if not isinstance(name, str) or user.get("kind", "user") != "user":
        raise ConnectError(f"the token does not belong to a user of {hub.url}; give https://HUB/user/NAME/")
    return urlunsplit((parts.scheme, parts.netloc, f"{prefix}/user/{quote(name, safe='@~')}/", "", ""))


def endpoint(against: str, url: str | None = None, token_file: str | None = None) -> tuple[str, str]:
    """Return an endpoint's WebSocket URL and its credential.

    Args:
        against: the URL of the endpoint, or the name of a server.
        url: base URL of the gateway that has a server of this name; None for the running one.
        token_file: file with the credential; None for the environment's, or that of the running gateway.

    Raises:
        UnusableArgumentError: it is neither an endpoint nor a server name.
        ConnectError: no gateway with this server can be found.
    """
    if not against.startswith(("ws://", "wss://", "http://", "https://")):
        check_name(against)
        gateway = gateway_with(against, url, None, token_file)
        return endpoint_url(gateway, against), gateway.token
    base = base_of(against)
    if not base:
        raise UnusableArgumentError(
            f"{against!r} is not an endpoint; give http://HOST:PORT/mcp-ws/servers/NAME, or a server's name"
        )
    gateway = find_gateway(base, None, token_file)
    return endpoint_url(gateway, against.partition(ENDPOINTS)[2].strip("/")), gateway.token
