"""Find a running gateway: Jupyter's own record of its servers, or what the environment says.

Reads files only; imports neither Jupyter Server nor the gateway, so that clients and tools start quickly.
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
"""The address of a page of Jupyter, as it is copied from a browser; a user may be called ``lab``."""


ON_SOCKET: Final = "http+unix://"
"""How Jupyter writes the address of a server that listens on a Unix socket (``--sock``)."""


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """Where a Jupyter server listens, and the credential for it.

    Attributes:
        url: its base URL, ending in ``/``.
        token: its token; ``""`` when it needs none or it is not known.
    """

    url: str
    token: str = field(repr=False, default="")
    pid: int | None = None
    root_dir: str = ""


def running_gateways() -> list[RunningGateway]:
    """The Jupyter servers of this user that are alive, newest first; those on a Unix socket after all others."""
    files = sorted(Path(jupyter_runtime_dir()).glob("jpserver-*.json"), key=_modified, reverse=True)
    found = []
    for path in files:
        try:
            record = json.loads(path.read_text())
            gateway = RunningGateway(
                record["url"], record.get("token", ""), record["pid"], record.get("root_dir", "")
            )
        except (OSError, ValueError, KeyError):
            continue
        if gateway.pid is not None and _alive(gateway.pid):
            found.append(gateway)
    return sorted(found, key=lambda gateway: gateway.url.startswith(ON_SOCKET))


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
    """The gateway to use: the arguments, else the environment, else the newest that runs.

    The environment is ``JUPYTER_SERVER_URL`` (set in Jupyter's terminals) with ``JUPYTER_TOKEN`` or
    ``JUPYTERHUB_API_TOKEN``.

    Raises:
        UnusableArgument: the address is none, or the token file cannot be read.
        ConnectError: there is none, or it has no TCP port.
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
        raise UnusableArgument(f"the token file {path} cannot be read: {error}") from None
    if not token:  # another credential in its place would be a surprise
        raise UnusableArgument(f"the token file {path} is empty")
    return token


def normal_url(url: str) -> str:
    """A Jupyter base URL with its scheme and a final slash, without query and without the path of a page.

    Raises:
        UnusableArgument: it is no http(s) URL.
        ConnectError: it is that of a Unix socket.
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
            f"Jupyter listens on the Unix socket {socket} only; MCP clients and tools need a TCP port: "
            "start it without --sock"
        )


def split_address(url: str, schemes: Sequence[str]) -> SplitResult:
    """The parts of an address that can be connected to.

    Args:
        schemes: those that it may have.

    Raises:
        UnusableArgument: it has another scheme, no host, or a port that none is. The query is not repeated: it may
            hold a token.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in schemes and parts.hostname and parts.port != 0
    except ValueError:  # a port out of range, or half a bracket
        usable = False
    if not usable:
        form = " or ".join(f"{scheme}://HOST:PORT/…" for scheme in schemes)
        raise UnusableArgument(
            f"{url.partition('?')[0]!r} is no address; give {form}, with a PORT from 1 to 65535 or none"
        )
    return parts


def _same_place(one: str, other: str) -> bool:
    a, b = urlsplit(one), urlsplit(other)
    local = {"localhost", "127.0.0.1", "::1"}
    same_host = a.hostname == b.hostname or {a.hostname, b.hostname} <= local
    return same_host and a.port == b.port and a.path.rstrip("/") == b.path.rstrip("/")


def endpoint_url(gateway: RunningGateway, server: str) -> str:
    """The WebSocket URL of one server.

    Raises:
        UnusableArgument: ``server`` is no server name.
    """
    check_name(server)
    return websocket_url(gateway, f"servers/{quote(server, safe='+')}")


def check_name(server: str) -> None:
    """Refuse what cannot be the name of a server, before a gateway is looked for.

    Raises:
        UnusableArgument: it is none.
    """
    if not ENDPOINT_NAME.fullmatch(server):
        raise UnusableArgument(f"{server!r} is neither a server name nor a ws:// or http:// URL")


def websocket_url(gateway: RunningGateway, path: str) -> str:
    """The ``ws``/``wss`` URL of a path below ``mcp-ws/``."""
    return f"ws{gateway.url.removeprefix('http')}mcp-ws/{path}"
