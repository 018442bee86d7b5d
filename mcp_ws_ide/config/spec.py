"""The configuration of a server, once read and checked: :class:`ServerSpec`, and the problems found on the way.

Owns the kinds of servers and the URL rules, as data. Knows nothing of files, of the syntax of entries, or of the
transports that use a spec; ``tests/transports/test_registry.py`` holds :data:`URL_SCHEMES` and :data:`GROUP` equal to
the registered transports.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from mcp_ws_ide.core.tools import ToolRules

URL_SCHEMES: Final[Mapping[str, tuple[str, ...]]] = {
    "stdio": (),
    "http": ("http", "https"),
    "sse": (),
    "ws": ("ws", "wss"),
    "unix": ("unix",),
    "python": (),
}
"""Kinds of servers that a transport reaches, each with the URL schemes that imply it."""
GROUP: Final = "group"
"""The kind of an entry that presents several servers as one. It has no transport of its own."""
KIND_OF_SCHEME: Final[Mapping[str, str]] = {
    scheme: kind for kind, schemes in URL_SCHEMES.items() for scheme in schemes
}
"""The kind that each URL scheme implies."""
OAUTH_KINDS: Final = frozenset({"http", "sse"})
"""Kinds that can be used with OAuth."""
CLIENT_CREDENTIALS: Final = "client_credentials"
"""The ``grant`` with which a client obtains tokens for itself, without a user (RFC 6749, section 4.4)."""
SHARING: Final = ("auto", "never", "always")
"""Values of :attr:`ServerSpec.sharing`."""
PREFIX: Final = ("always", "never")
"""Values of :attr:`ServerSpec.prefix`."""
MAX_MEMBERS: Final = 32
"""Maximum number of servers in one group."""
DEFAULT_TIMEOUTS: Final[Mapping[str, float]] = {
    "connect_timeout": 10.0,
    "read_timeout": 300.0,
    "reconnect_timeout": 60.0,
}
"""Seconds, for each timeout that an entry does not set."""
_LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """The configuration of one server. A reload replaces the server when its spec is no longer equal.

    Attributes:
        name: the server's address: its name, or what is made from it (:mod:`mcp_ws_ide.core.names`); unique in a
            configuration.
        title: its name as configured; None if that is the address.
        source: the file that defines it, or the name of the trait or entry point.
        kind: a key of :data:`URL_SCHEMES`, or :data:`GROUP`.
        target: ``module:object`` of an in-process server.
        group: names of the servers that a group presents as one.
        prefix: whether a group's names begin with their member: ``always``, or ``never`` unless two of them are equal.
        env: variables added to the base environment (:func:`~mcp_ws_ide.config.environment.child_environment`).
        env_vars: names of further variables that its process gets of the gateway's environment; ``*`` matches any
            characters.
        sharing: ``auto`` (a user's sessions share a modern server), ``never`` or ``always``.
        tools: which of its tools clients may see and call; None means all.
        authorize: what Jupyter's authorizer must allow its users, as ``action resource``; for a group also what its
            members require.
        bridge: whether clients of one protocol era can use the server when it supports only the other.
        prewarm: number of processes to keep ready for sessions that need one of their own.
        idle_timeout: seconds to keep a shared process without sessions; None means the trait's value.
        limits: configured numeric limits and timeouts, by name.
        oauth: None, or the OAuth settings that are configured: ``scope``, ``client_id``, ``client_secret``,
            ``issuer``, ``grant``, ``private_key_file``.
        ca_file: certificates to trust for ``https`` and ``wss`` instead of the system's.
        disabled_reason: why the server cannot be used; None if it can.
        consent: digest that a user must consent to before the server is started; None if no consent is needed.
        written: attributes that contain environment variables (``${env:NAME}``), with the names of those instead of
            their values, by name; safe to show.
    """

    name: str
    source: str
    kind: str = "stdio"
    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    env_vars: tuple[str, ...] = ()
    title: str | None = None
    cwd: str | None = None
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    group: tuple[str, ...] = ()
    prefix: str = "always"
    sharing: str = "auto"
    bridge: bool = True
    tools: ToolRules | None = None
    authorize: tuple[str, ...] = ()
    prewarm: int = 0
    idle_timeout: float | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    ca_file: str | None = None
    oauth: Mapping[str, str] | None = None
    disabled_reason: str | None = None
    consent: str | None = None
    written: Mapping[str, Any] = field(default_factory=dict)

    def timeout(self, name: str) -> float:
        """Return the timeout ``name`` (a key of :data:`DEFAULT_TIMEOUTS`) in seconds, as configured or by default."""
        return self.limits.get(name, DEFAULT_TIMEOUTS[name])

    def substitutions(self) -> Iterator[tuple[str, str]]:
        """Yield each text that contains variables: with their values filled in, and as written."""
        for attribute, written in self.written.items():
            resolved = getattr(self, attribute)
            if isinstance(resolved, tuple):
                yield from zip(resolved, written, strict=True)
            else:
                yield resolved, written

    def unresolved(self, text: str) -> str:
        """Return ``text`` with the values of variables replaced by the variables as written in the configuration."""
        for resolved, written in self.substitutions():
            if resolved and resolved != written:
                text = text.replace(resolved, written)
        return text


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """Something wrong in the configuration.

    Attributes:
        source: the file, or the name of the trait or entry point.
        key: dotted path inside the source; ``""`` for the source as a whole.
        reason: what is wrong, and what to do.
        severity: ``error`` (a server is missing or disabled) or ``notice``.
    """

    source: str
    key: str
    reason: str
    severity: str = "error"

    def __str__(self) -> str:
        place = f"{self.source}: {self.key}" if self.key else self.source
        return f"{place}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Configuration:
    """All configured servers in order of precedence, and the problems found while reading them.

    Attributes:
        unread: the problems that concern a whole file, which could not be read or parsed.
    """

    servers: dict[str, ServerSpec]
    problems: list[ConfigProblem]
    unread: list[ConfigProblem] = field(default_factory=list)


def rights_of(
    members: Iterable[str], servers: Mapping[str, ServerSpec], own: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return what a group requires of its users: its own :attr:`ServerSpec.authorize`, and that of its members."""
    required = [right for name in members if name in servers for right in servers[name].authorize]
    return tuple(dict.fromkeys([*own, *required]))


def kind_of_url(url: str) -> str:
    """Return the kind that the scheme of ``url`` implies.

    Raises:
        ValueError: the URL cannot be parsed, or its scheme is unknown.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError as error:
        raise ValueError(f"is not a valid URL: {error}") from None
    if "://" not in url and scheme not in KIND_OF_SCHEME:
        raise ValueError(
            'has no scheme; write http:// or https:// in front of it, or a program under "command"'
        )
    if scheme not in KIND_OF_SCHEME:
        raise ValueError(f"the scheme {scheme!r} is unknown; use one of {', '.join(KIND_OF_SCHEME)}")
    return KIND_OF_SCHEME[scheme]


def http_socket(url: str) -> tuple[str, str]:
    """Return the Unix socket that a URL such as ``unix:///tmp/s#/mcp`` names, and the path of the endpoint behind it.

    Both are ``""`` if the URL names none.
    """
    parts = urlsplit(url)
    return (unquote(parts.path), parts.fragment or "/") if parts.scheme == "unix" else ("", "")


def check_url(url: str) -> None:
    """Check that a server can be reached at ``url``, variables filled in.

    Raises:
        ValueError: it cannot; the message follows the word "url".
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"is not a valid URL: {error}") from None
    if parts.scheme == "unix":
        if parts.netloc or not parts.path.startswith("/"):
            raise ValueError("must be unix:///path, with three slashes")
        if parts.fragment and not (parts.fragment.startswith("/") and parts.fragment.isprintable()):
            raise ValueError("needs a path after #, as in unix:///tmp/s#/mcp")
    elif not parts.hostname or port == 0 or not url.isprintable() or " " in url:
        raise ValueError("needs a host, as in https://example.org/mcp")


def is_loopback_host(host: str | None) -> bool:
    """Return whether a URL's host names this machine."""
    return host in _LOOPBACK_HOSTS


def is_confidential_url(url: str) -> bool:
    """Return whether what is sent to ``url`` cannot be read on the network: ``https``, or this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback_host(parts.hostname))
