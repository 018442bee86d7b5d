"""Find a running gateway, from Jupyter's record of its servers or from environment variables.

Only reads files; imports neither Jupyter Server nor the gateway, so that clients and tools start quickly.
"""

from __future__ import annotations

import codecs
import ipaddress
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from jupyter_core.paths import jupyter_runtime_dir

from mcp_ws_ide.core.binding import ENDPOINT_NAME
from mcp_ws_ide.core.names import address_of
from mcp_ws_ide.errors import ConnectError, UnusableArgumentError
from mcp_ws_ide.ide_entries import TOKEN_VARIABLE
from mcp_ws_ide.proxy_environment import this_machine
from mcp_ws_ide.tokens import TOKEN_PREFIX

_PAGES = re.compile(
    r"(?P<base>(?>(?:.*?/user/[^/]+)?).*?)/(?:lab|tree|notebooks|edit|doc|consoles|terminals|voila|mcp-ws)(?:/.*)?$"
)
"""The address of a Jupyter page as copied from a browser; note that a user may be called ``lab``."""


ENDPOINTS: Final = "/mcp-ws/servers/"
"""Ends the base URL of a gateway in the addresses of its servers; the name of the server follows."""
ENDPOINT_SCHEMES: Final = ("ws", "wss", "http", "https")
"""Schemes of addresses that the clients connect to."""
ON_SOCKET: Final = "http+unix://"
"""How Jupyter writes the address of a server that listens on a Unix socket (``--sock``)."""
WILDCARDS: Final = ("", "*", "0.0.0.0", "::")  # noqa: S104 - recognized, not bound
"""Values of ``ServerApp.ip`` with which Jupyter listens on all addresses of the machine."""
HUB_ADDRESSES: Final = (
    "JUPYTERHUB_API_URL",
    "JUPYTERHUB_PUBLIC_URL",
    "JUPYTERHUB_PUBLIC_HUB_URL",
    "JUPYTERHUB_HOST",
    "JUPYTERHUB_SERVICE_URL",
)
"""Variables with which a hub tells a server that it starts where the hub and the server are."""


_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
"""Byte order marks, the longer ones first: Windows PowerShell 5 writes UTF-16 with ``>``."""


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """The address of a Jupyter server, and the credential for it.

    Attributes:
        url: base URL, ending in ``/``; of a process on this machine, an address that answers here.
        token: its token; ``""`` if it needs none or it is not known.
        recorded: base URL as Jupyter recorded it, with a host name that may not resolve.
        everywhere: whether it listens on all addresses of this machine.
        withheld: why a token of the environment is not used for it; ``""`` if none was left out.
    """

    url: str
    token: str = field(repr=False, default="")
    pid: int | None = None
    root_dir: str = ""
    recorded: str = ""
    everywhere: bool = False
    withheld: str = ""

    def is_at(self, url: str) -> bool:
        """Return whether a URL is the address of this server, in any spelling of this machine."""
        try:
            wanted, own = urlsplit(url if "://" in url else f"http://{url}"), urlsplit(self.url)
            wanted_port = _port(wanted)
        except ValueError:
            return False
        if wanted_port != _port(own) or wanted.path.rstrip("/") != own.path.rstrip("/"):
            return False
        if wanted.hostname in (own.hostname, urlsplit(self.recorded).hostname):
            return True
        # Another process may listen on the same port of another address of this machine.
        return this_machine(wanted.hostname or "") and (self.everywhere or _is_loopback(own.hostname or ""))


def running_gateways() -> list[RunningGateway]:
    """Return this user's live Jupyter servers, newest first; servers on a Unix socket come last.

    Only the newest record of an address counts: a killed server leaves its record, and another process may have its pid
    by now.
    """
    files = sorted(Path(jupyter_runtime_dir()).glob("jpserver-*.json"), key=_modified, reverse=True)
    by_url: dict[str, RunningGateway] = {}
    for gateway in map(_recorded, files):
        if gateway is not None:
            by_url.setdefault(gateway.url, gateway)
    return sorted(by_url.values(), key=lambda gateway: gateway.url.startswith(ON_SOCKET))


def _recorded(path: Path) -> RunningGateway | None:
    """Return the server of one record; None if the record cannot be read or its process has exited."""
    try:
        record = json.loads(path.read_text())
        url, pid = str(record["url"]), int(record["pid"])
        if not _alive(pid):
            return None
        ip = str(record.get("hostname", ""))
        everywhere = ip in WILDCARDS or (ip == "localhost" and urlsplit(url).hostname != "localhost")
        usable = _loopback(url, ip) if everywhere and not url.startswith(ON_SOCKET) else url
        token, root_dir = str(record.get("token", "")), str(record.get("root_dir", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return RunningGateway(usable, token, pid, root_dir, url, everywhere)


def _loopback(url: str, ip: str) -> str:
    """Return the loopback address of a server that listens on all addresses.

    Jupyter records this machine's name instead, which no resolver may know. Over TLS the name is kept where it
    resolves, because the certificate is for the name.
    """
    parts = urlsplit(url)
    if parts.scheme == "https" and _resolves_here(parts.hostname or ""):
        return url
    host = "[::1]" if ip == "::" else "127.0.0.1"
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit(parts._replace(netloc=f"{host}{port}"))


def _resolves_here(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return any(this_machine(str(address[4][0])) for address in found)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme in ("https", "wss") else 80)


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


def own_gateway(
    gateways: Sequence[RunningGateway], environ: Mapping[str, str] = os.environ
) -> RunningGateway | None:
    """Return the Jupyter server that this process runs under, as a kernel, a terminal or a child of either.

    Jupyter sets ``JPY_PARENT_PID`` and ``JPY_SESSION_NAME`` (path of the notebook) for kernels and
    ``JUPYTER_SERVER_URL`` for terminals; all are inherited, also by a Jupyter that was started in one of them. Where
    two disagree, the nearest ancestor of this process counts.
    """
    by_pid = {gateway.pid: gateway for gateway in reversed(gateways)}  # the first record of a process counts
    parent_pid = environ.get("JPY_PARENT_PID", "")
    kernels = by_pid.get(int(parent_pid)) if parent_pid.isdecimal() else None
    url = environ.get("JUPYTER_SERVER_URL", "")
    terminals = next((gateway for gateway in gateways if url and gateway.is_at(url)), None)
    if (kernels is None) != (terminals is None) or (kernels is not None and kernels is terminals):
        return kernels or terminals
    near = (kernels, terminals) if kernels is not None else tuple(gateways)
    nearest = next((by_pid[pid] for pid in _ancestors() if by_pid.get(pid) in near), None)
    return nearest or kernels or _of_notebook(gateways, environ.get("JPY_SESSION_NAME", ""))


def _ancestors() -> Iterator[int]:
    """Yield the process ids of this process, its parent, and so on; where ``/proc`` is missing, only the first two."""
    yield os.getpid()
    pid = os.getppid()
    while pid > 0:
        yield pid
        try:  # the name of the program, in parentheses, may contain anything
            pid = int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return


def _of_notebook(gateways: Sequence[RunningGateway], notebook: str) -> RunningGateway | None:
    """Return the only server whose files include the notebook of this kernel."""
    if not os.path.isabs(notebook):
        return None
    serving = [
        gateway
        for gateway in gateways
        if gateway.root_dir and Path(notebook).is_relative_to(gateway.root_dir)
    ]
    return serving[0] if len(serving) == 1 else None


def undecided_gateways(environ: Mapping[str, str] = os.environ) -> list[RunningGateway]:
    """Return the running gateways if several are running and the environment does not tell which one is meant."""
    gateways = [gateway for gateway in running_gateways() if not gateway.url.startswith(ON_SOCKET)]
    decided = environ.get("JUPYTER_SERVER_URL") or own_gateway(gateways, environ) is not None
    return [] if decided or len(gateways) < 2 else gateways


def find_gateway(
    url: str | None = None,
    token: str | None = None,
    token_file: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> RunningGateway:
    """Return the gateway to use.

    In order: the one at ``url``; the Jupyter server that this process runs under; the one at ``JUPYTER_SERVER_URL``;
    the newest running one. A server of this machine is addressed over loopback, in whatever spelling it was given.

    The token is, in order: ``token``; the content of ``token_file``; ``JUPYTER_TOKEN``; the one that the server has
    recorded; ``MCP_WS_TOKEN``; ``JUPYTERHUB_API_TOKEN``. A token that Jupyter or a hub put into the environment is used
    only for the address it belongs to.

    Raises:
        UnusableArgumentError: the address is invalid, or the token file cannot be read.
        ConnectError: no server is running, or it has no TCP port.
    """
    if not token and token_file is not None:
        token = token_of_file(token_file)
    running = running_gateways()
    gateway = _named(url, running) if url is not None else _meant(running, environ)
    _check_for_port(gateway.url)
    if token:
        return replace(gateway, token=token)
    token, withheld = environment_token(gateway, running, environ)
    return replace(gateway, token=token, withheld=withheld)


def _named(url: str, running: Sequence[RunningGateway]) -> RunningGateway:
    wanted = normal_url(url)
    return next((gateway for gateway in running if gateway.is_at(wanted)), RunningGateway(wanted))


def _meant(running: Sequence[RunningGateway], environ: Mapping[str, str]) -> RunningGateway:
    """Return the gateway that the environment means, else the newest."""
    url = environ.get("JUPYTER_SERVER_URL")
    own = own_gateway(running, environ)
    if url and (own is None or not this_machine(urlsplit(normal_url(url)).hostname or "")):
        return _named(url, running)
    if own is not None:
        return own
    if not running:
        raise ConnectError(
            "no running Jupyter server was found; start one, or give its address (url= in Python, --url of a command); "
            "'mcp-ws-inspect -- COMMAND' runs an MCP server without one"
        )
    return running[0]


def environment_token(
    gateway: RunningGateway,
    running: Sequence[RunningGateway],
    environ: Mapping[str, str],
) -> tuple[str, str]:
    """Return the token for a gateway, and why a token of the environment is not it (``""`` if none was left out).

    What Jupyter or a hub has put into the environment belongs to that Jupyter, and is sent nowhere else.
    """
    withheld = ""
    token = environ.get("JUPYTER_TOKEN", "")
    if token and not (owner := _other_owner(token, gateway, running, environ.get("JUPYTER_SERVER_URL", ""))):
        return token, ""
    if token:
        withheld = f"the token in JUPYTER_TOKEN was not sent, because it belongs to {owner}"
    if token := gateway.token or environ.get(TOKEN_VARIABLE, ""):
        return token, ""
    token = environ.get("JUPYTERHUB_API_TOKEN", "")
    if token and not (owner := _other_hub(gateway, environ)):
        return token, ""
    if token:
        withheld = f"the token in JUPYTERHUB_API_TOKEN was not sent, because it belongs to {owner}"
    return "", withheld


def _other_owner(token: str, gateway: RunningGateway, running: Sequence[RunningGateway], url: str) -> str:
    """Return the address that ``JUPYTER_TOKEN`` belongs to if that is not this gateway's; else ``""``."""
    if token.startswith(TOKEN_PREFIX) or gateway.token == token:
        return ""
    owner = next((other.url for other in running if other.token == token), "")
    if not owner and url and not (gateway.is_at(url) or _origin(url) == _origin(gateway.url)):
        owner = f"{normal_url(url)} (JUPYTER_SERVER_URL)"
    return owner


def _other_hub(gateway: RunningGateway, environ: Mapping[str, str]) -> str:
    """Return the hub that ``JUPYTERHUB_API_TOKEN`` belongs to if this gateway is not part of it; else ``""``.

    Only a hub sets the other variables; without them, the user has set the token for the address that was given.
    """
    places = [environ[name] for name in HUB_ADDRESSES if environ.get(name)]
    own = gateway.pid is not None and any(
        _port(urlsplit(place)) == _port(urlsplit(gateway.url)) for place in places
    )
    if not places or own or _origin(gateway.url) in map(_origin, places):
        return ""
    return f"the hub at {places[0]}"


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    return parts.scheme, parts.hostname or "", _port(parts)


def text_of_file(path: str, what: str) -> str:
    """Return the text of a file in UTF-8, with or without byte order mark, that an argument names.

    Args:
        what: the file's name in an error, such as ``token file``.

    Raises:
        UnusableArgumentError: it cannot be read, or is in another encoding. No content is repeated.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UnusableArgumentError(f"the {what} {path} cannot be read: {error.strerror or error}") from None
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "")
    if not encoding and b"\0" in data[:4]:
        encoding = "UTF-16 or UTF-32"
    try:
        if encoding:
            raise UnusableArgumentError(f"the {what} {path} is in {encoding}; save it as UTF-8")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnusableArgumentError(
            f"the {what} {path} is not in UTF-8 (byte {error.start}); save it as UTF-8"
        ) from None


def token_of_file(path: str) -> str:
    """Return the token in a file.

    Raises:
        UnusableArgumentError: the file cannot be read, or holds no token.
    """
    token = text_of_file(path, "token file").strip()
    if not token:  # falling back to another credential would be a surprise
        raise UnusableArgumentError(f"the token file {path} is empty")
    if not (token.isascii() and token.isprintable()):
        raise UnusableArgumentError(f"the token file {path} does not hold one line of printable ASCII text")
    return token


def normal_url(url: str) -> str:
    """Return a Jupyter base URL with scheme and final slash, without query and without the path of a page.

    Raises:
        UnusableArgumentError: it is not an http(s) URL.
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
        UnusableArgumentError: the scheme is not accepted, the host is missing, or the port is invalid. The query is not
            repeated in the message, as it may contain a token.
    """
    form = " or ".join(f"{scheme}://HOST:PORT/…" for scheme in schemes)
    if not isinstance(url, str):
        raise UnusableArgumentError(f"an address is a string, {form}, not of type {type(url).__name__}")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in schemes and parts.hostname and parts.port != 0
    except ValueError:  # a port out of range, or an unbalanced bracket
        usable = False
    if not usable:
        raise UnusableArgumentError(
            f"{url.partition('?')[0]!r} is not a valid address; give {form}, with an optional PORT from 1 to 65535"
        )
    return parts


def endpoint_url(gateway: RunningGateway, server: str) -> str:
    """Return the WebSocket URL of a server.

    Raises:
        UnusableArgumentError: ``server`` is not a server name.
    """
    check_name(server)
    return websocket_url(gateway, f"servers/{quote(server, safe='+')}")


def as_address(target: str) -> str | None:
    """Return the address that a user means, without blanks around it, its scheme in lower case; None for a name.

    Raises:
        UnusableArgumentError: it is an address that clients cannot connect to.
    """
    scheme, mark, rest = target.strip().partition("://")
    if not mark:
        return None
    if scheme.lower() not in ENDPOINT_SCHEMES:
        raise UnusableArgumentError(
            f"{target.partition('?')[0]!r} is not an address that a client connects to; give one that begins with "
            f"{', '.join(f'{known}://' for known in ENDPOINT_SCHEMES)}, or put the server into mcp.json and give its "
            "name"
        )
    return f"{scheme.lower()}://{rest}"


def base_of(address: str) -> str:
    """Return the base URL of the gateway behind whose address of a server this is; ``""`` if it is none."""
    base, mark, name = address.partition(ENDPOINTS)
    if not mark or not name:
        return ""
    return f"http{base.removeprefix('ws')}" if base.startswith("ws") else base


def check_name(server: str) -> None:
    """Refuse an invalid server name before a gateway is looked for.

    Raises:
        UnusableArgumentError: ``server`` is not a server name.
    """
    if not ENDPOINT_NAME.fullmatch(server):
        raise UnusableArgumentError(
            f"{server!r} is neither a server name nor a ws:// or http:// URL; if a server has this name, write its "
            f"address, {address_of(server)!r} (`mcp-ws-inspect servers` lists them)"
        )


def websocket_url(gateway: RunningGateway, path: str) -> str:
    """Return the ``ws``/``wss`` URL of a path below ``mcp-ws/``."""
    return f"ws{gateway.url.removeprefix('http')}mcp-ws/{path}"
