"""Which connections go through a proxy of the environment: none to this machine, and no credential unencrypted.

One policy for the clients, the inspector and the remote transports, whichever library opens the connection. Opens no
connection itself and asks no resolver.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from mcp_ws_ide.errors import ConnectError

HOSTS: Final = Path("/etc/hosts")
"""Names of this machine that need no resolver."""
ORDER: Final = {
    "ws": ("ws", "socks", "https", "http", "all"),
    "wss": ("wss", "socks", "https", "all"),
    "http": ("http", "all"),
    "https": ("https", "all"),
}
"""The kinds of proxy that serve a scheme, in order (the variable is the kind with ``_proxy`` appended)."""
PACKAGES: Final = {"websockets": "python-socks", "httpx2": "httpx2[socks]", "httpx": "httpx[socks]"}
"""The package that each library needs for a SOCKS proxy."""
_MODULES: Final = {"websockets": "python_socks", "httpx2": "socksio", "httpx": "socksio"}
_SCHEMES: Final = ("http", "https", "socks5", "socks5h")
NO_ATTEMPT_WORKED: Final = "All connection attempts failed"
"""What anyio says where a host's addresses were tried one after the other; the reason of each is the error's cause."""
_FAILED_ATTEMPT: Final = re.compile(r"\[Errno (\d+)\] Connect call failed")
_NUMBER_OF_ERROR: Final = re.compile(r"^\[Errno -?\d+\] ")
_HOST: Final = re.compile(r"[0-9A-Za-z._:-]+")
_NUMERIC: Final = re.compile(r"(?i)(?:0x[0-9a-f]+|[0-9]+)(?:\.(?:0x[0-9a-f]+|[0-9]+)){0,3}")
"""An IPv4 address as ``inet_aton`` reads it, for example ``127.1``."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that the environment names.

    Attributes:
        variable: the environment variable that names it.
        url: its address, which may contain a password.
        where: its address for messages; ``""`` if the address cannot be used.
    """

    variable: str
    url: str = field(repr=False)
    where: str

    @property
    def via(self) -> str:
        """The proxy as part of an error text: its address, the variable that names it, and how to bypass it."""
        where = f" {self.where}" if self.where else ""
        return f"through the proxy{where} (variable {self.variable}; to bypass it, list the host in NO_PROXY)"

    def problem(self, library: str) -> str:
        """Return why ``library`` cannot use the proxy, and the cure; ``""`` if it can.

        The address of an invalid proxy is not repeated: any part of it may be a password.

        Args:
            library: a key of :data:`PACKAGES`, or ``urllib``, which has no SOCKS.
        """
        bypass = "or list the host in NO_PROXY"
        if not self.where:
            return (
                f"the proxy in the variable {self.variable} is not a usable address; write scheme://host:port, with "
                f"user and password before the host if it requires them, {bypass}"
            )
        if not self.where.startswith("socks"):
            return ""
        named = f"the variable {self.variable} names the SOCKS proxy {self.where}"
        if library not in PACKAGES:
            return f"{named}, which only MCP connections can use; {bypass.removeprefix('or ')}"
        if find_spec(_MODULES[library]) is None:
            return f"{named}, which needs the package {PACKAGES[library]}; install it, {bypass}"
        return ""


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy that the environment names for a URL; None if the connection is direct.

    This machine is always reached directly, whatever the environment says: a proxy is somewhere else.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxies = urllib.request.getproxies()
    kind = next((kind for kind in ORDER.get(parts.scheme, ()) if proxies.get(kind)), None)
    if kind is None or this_machine(host) or _bypassed(parts, proxies.get("no", "")):
        return None
    names = (f"{kind}_proxy", f"{kind}_proxy".upper())
    variable = next((name for name in names if os.environ.get(name)), f"{kind}_proxy")
    address = proxies[kind]
    if kind == "socks" and address.startswith("http://"):  # how macOS and Windows write it
        address = f"socks5h{address.removeprefix('http')}"
    address = address if "://" in address else f"http://{address}"
    return Proxy(variable, address, _where(address))


def route(url: str, headers: Mapping[str, str], library: str) -> str | None:
    """Return the address of the proxy for a client's connection to a gateway; None if it is direct.

    Args:
        headers: the headers of the request.
        library: as in :meth:`Proxy.problem`.

    Raises:
        ConnectError: the proxy cannot be used, or would see the credential unencrypted.
    """
    proxy = proxy_for(url)
    if proxy is None:
        return None
    parts = urlsplit(url)
    where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if problem := proxy.problem(library):
        raise ConnectError(f"{where} cannot be reached: {problem}")
    if parts.scheme in ("ws", "http") and any(name.lower() == "authorization" for name in headers):
        raise ConnectError(
            f"{where} was not contacted, because its token would pass the proxy {proxy.where} unencrypted (variable "
            f"{proxy.variable}); list the host in NO_PROXY, or use https:// or wss://"
        )
    return proxy.url


def via(url: str) -> str:
    """Return the text to append to an error of a connection to ``url``: its proxy; ``""`` if it is direct."""
    proxy = proxy_for(url)
    return f", {proxy.via}" if proxy is not None else ""


def proxy_failure(error: Exception) -> str:
    """Return what a ``ProxyError`` of ``websockets`` means, and the cure."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is None:
        return "the proxy closed the connection"
    hint = "; the proxy requires a credential; put it into the proxy's address" if status == 407 else ""
    return f"the proxy refused the connection ({status}){hint}"


def this_machine(host: str) -> bool:
    """Return whether a host is this machine: its loopback, any of its addresses, or its own name.

    Decided without a resolver, which may not know the name, and behind a proxy often answers late.
    """
    name = host.strip("[]").rstrip(".").lower()
    if name in ("", "localhost", "*") or name.endswith(".localhost") or name in _own_names():
        return True
    return any(_is_own(address) for address in _addresses(name))


def _own_names() -> frozenset[str]:
    name = socket.gethostname().lower()
    return frozenset({name, name.partition(".")[0]} - {""})


def _addresses(name: str) -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Yield the address that a host is, or those that ``/etc/hosts`` gives it."""
    if _NUMERIC.fullmatch(name):
        with suppress(OSError):
            yield ipaddress.IPv4Address(socket.inet_aton(name))
        return
    with suppress(ValueError):
        yield ipaddress.ip_address(name)
        return
    for line in _hosts(_modified(HOSTS)):
        if name in line[1:]:
            with suppress(ValueError):
                yield ipaddress.ip_address(line[0])


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


@lru_cache(maxsize=1)
def _hosts(modified: float) -> list[list[str]]:
    try:
        text = HOSTS.read_text(errors="replace").lower()
    except OSError:
        return []
    return [line.partition("#")[0].split() for line in text.splitlines() if line.partition("#")[0].strip()]


def _is_own(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    if address.is_loopback or address.is_unspecified:
        return True
    if address.is_multicast:
        return False
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((str(address), 0))  # only an address of this machine can be bound
        return True
    return False


def _bypassed(parts: SplitResult, no_proxy: str) -> bool:
    """Return whether NO_PROXY, or the system's settings, exempt a host: by name, suffix, address or network."""
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    if urllib.request.proxy_bypass(f"{host}{port}") or urllib.request.proxy_bypass(host):
        return True
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        return any(address in network for network in _networks(no_proxy))
    return False


def _networks(no_proxy: str) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    for entry in re.split(r"[,\s]+", no_proxy):
        with suppress(ValueError):
            yield ipaddress.ip_network(entry.strip("[]"), strict=False)


def _where(address: str) -> str:
    """Return a proxy's address without user and password; ``""`` if it cannot be used."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return ""
    host = parts.hostname or ""
    odd = parts.path not in ("", "/") or parts.query or parts.fragment
    if parts.scheme not in _SCHEMES or not _HOST.fullmatch(host) or port == 0 or odd:
        return ""
    if parts.username is not None and parts.password is None:  # websockets refuses it
        return ""
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")


def untrusted(detail: str) -> str:
    """Return the cure, to append to an error with this detail, if it is a certificate that is not trusted."""
    if "certificate verify failed" not in detail.lower().replace("_", " "):
        return ""
    return "; if you trust the certificate, set SSL_CERT_FILE to a PEM file with its authority"


def reason_of(error: BaseException) -> str:
    """Return why a connection failed: the reason of the system or of TLS, where the error itself says none.

    Numbers of errors are left out, and asyncio's "Connect call failed" is replaced by the reason of the system.
    """
    detail = str(error).strip()
    if (failed := _FAILED_ATTEMPT.search(detail)) is not None:
        return os.strerror(int(failed[1]))
    cause: BaseException | None = error if detail in ("", NO_ATTEMPT_WORKED) else None
    while cause is not None:
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, ssl.SSLError):
            return str(cause)
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return _NUMBER_OF_ERROR.sub("", detail) or type(error).__name__
