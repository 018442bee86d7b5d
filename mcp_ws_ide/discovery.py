"""Find a running gateway, from Jupyter's record of its servers or from environment variables.

Only reads files; imports neither Jupyter Server nor the gateway, so that clients and tools start quickly.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from jupyter_core.paths import jupyter_runtime_dir

from mcp_ws_ide.core.binding import ENDPOINT_NAME
from mcp_ws_ide.errors import ConnectError, UnusableArgument

_PAGES = re.compile(
    r"(?P<base>(?>(?:.*?/user/[^/]+)?).*?)/(?:lab|tree|notebooks|edit|doc|consoles|terminals|voila|mcp-ws)(?:/.*)?$"
)
"""The address of a Jupyter page as copied from a browser; note that a user may be called ``lab``."""


ON_SOCKET: Final = "http+unix://"
"""How Jupyter writes the address of a server that listens on a Unix socket (``--sock``)."""


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """The address of a Jupyter server, and the credential for it.

    Attributes:
        url: base URL, ending in ``/``.
        token: its token; ``""`` if it needs none or it is not known.
    """

    url: str
    token: str = field(repr=False, default="")
    pid: int | None = None
    root_dir: str = ""


def running_gateways() -> list[RunningGateway]:
    """Return this user's live Jupyter servers, newest first; servers on a Unix socket come last."""
    files = sorted(Path(jupyter_runtime_dir()).glob("jpserver-*.json"), key=_modified, reverse=True)
    gateways = []
    for path in files:
        try:
            record = json.loads(path.read_text())
            gateway = RunningGateway(
                record["url"], record.get("token", ""), record["pid"], record.get("root_dir", "")
            )
        except (OSError, ValueError, KeyError):
            continue
        if gateway.pid is not None and _alive(gateway.pid):
            gateways.append(gateway)
    return sorted(gateways, key=lambda gateway: gateway.url.startswith(ON_SOCKET))


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def find_gateway(
    url: str | None = None,
    token: str | None = None,
    token_file: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> RunningGateway:
    """Return the gateway to use: from the arguments, else from the environment, else the newest running one.

    The environment variables are ``JUPYTER_SERVER_URL`` (set in Jupyter's terminals) with ``JUPYTER_TOKEN`` or
    ``JUPYTERHUB_API_TOKEN``.

    Raises:
        UnusableArgument: the address is invalid, or the token file cannot be read.
        ConnectError: no server is running, or it has no TCP port.
    """
    token = (
        token
        or _read_token(token_file)
        or environ.get("JUPYTER_TOKEN")
        or environ.get("JUPYTERHUB_API_TOKEN")
    )
    url = url or environ.get("JUPYTER_SERVER_URL")
    running = running_gateways()
    if url is None:
        if not running:
            raise ConnectError(
                "no running Jupyter server was found; start one, or give its address with --url"
            )
        _check_for_port(running[0].url)
        return running[0] if token is None else RunningGateway(running[0].url, token, running[0].pid)
    wanted = normal_url(url)
    if token is None:
        token = next((g.token for g in running if _same_place(g.url, wanted)), "")
    return RunningGateway(wanted, token)


def _read_token(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        token = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnusableArgument(f"the token file {path} cannot be read: {reason}") from None
    if not token:  # falling back to another credential would be a surprise
        raise UnusableArgument(f"the token file {path} is empty")
    return token


def normal_url(url: str) -> str:
    """Return a Jupyter base URL with scheme and final slash, without query and without the path of a page.

    Raises:
        UnusableArgument: it is not an http(s) URL.
        ConnectError: it is the address of a Unix socket.
    """
    _check_for_port(url)
    parts = split_address(url if "://" in url else f"http://{url}", ("http", "https"))
    page = _PAGES.match(parts.path)
    path = f"{(page['base'] if page else parts.path).rstrip('/')}/"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _check_for_port(url: str) -> None:
    if url.startswith(ON_SOCKET):
        socket = unquote(url.removeprefix(ON_SOCKET).partition("/")[0])
        raise ConnectError(
            f"Jupyter listens only on the Unix socket {socket}, but MCP clients and tools need a TCP port; "
            "start it without --sock"
        )


def split_address(url: str, schemes: Sequence[str]) -> SplitResult:
    """Return the parts of an address that can be connected to.

    Args:
        schemes: the accepted schemes.

    Raises:
        UnusableArgument: the scheme is not accepted, the host is missing, or the port is invalid. The query is not
            repeated in the message, as it may contain a token.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in schemes and parts.hostname and parts.port != 0
    except ValueError:  # a port out of range, or an unbalanced bracket
        usable = False
    if not usable:
        form = " or ".join(f"{scheme}://HOST:PORT/…" for scheme in schemes)
        raise UnusableArgument(
            f"{url.partition('?')[0]!r} is not a valid address; give {form}, with an optional PORT from 1 to 65535"
        )
    return parts


def _same_place(one: str, other: str) -> bool:
    a, b = urlsplit(one), urlsplit(other)
    local = {"localhost", "127.0.0.1", "::1"}
    same_host = a.hostname == b.hostname or {a.hostname, b.hostname} <= local
    return same_host and a.port == b.port and a.path.rstrip("/") == b.path.rstrip("/")


def endpoint_url(gateway: RunningGateway, server: str) -> str:
    """Return the WebSocket URL of a server.

    Raises:
        UnusableArgument: ``server`` is not a server name.
    """
    check_name(server)
    return websocket_url(gateway, f"servers/{quote(server, safe='+')}")


def check_name(server: str) -> None:
    """Refuse an invalid server name before a gateway is looked for.

    Raises:
        UnusableArgument: ``server`` is not a server name.
    """
    if not ENDPOINT_NAME.fullmatch(server):
        raise UnusableArgument(f"{server!r} is neither a server name nor a ws:// or http:// URL")


def websocket_url(gateway: RunningGateway, path: str) -> str:
    """Return the ``ws``/``wss`` URL of a path below ``mcp-ws/``."""
    return f"ws{gateway.url.removeprefix('http')}mcp-ws/{path}"
