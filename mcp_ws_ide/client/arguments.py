"""What the client's functions accept, and what to write instead of an argument that they cannot use.

Checks types alone, before anything is connected; what an address or a header may contain is checked where it is used.
"""

from __future__ import annotations

import math
import ssl as ssl_module
from collections.abc import Mapping
from typing import Any, Final

from mcp_ws_ide.client.states import Reconnect
from mcp_ws_ide.errors import UnusableArgumentError, UnusableHeaderError

TARGET: Final = (
    "the name of a configured server, or the URL of an endpoint (ws://, wss://, http://, https://)"
)
"""What names a server."""
_INSTEAD: Final[dict[type, str]] = {
    list: "; to run a command, give it a name in mcp.json and pass the name",
    tuple: "; to run a command, give it a name in mcp.json and pass the name",
    dict: "; to use an entry, give it a name in mcp.json and pass the name",
    bytes: "; decode it",
}
"""What to do about what people pass in place of a name, by its type."""


def check_target(target: object) -> None:
    """Check that something may be the name or the address of a server.

    Raises:
        UnusableArgumentError: it is no string, or an empty one.
    """
    if isinstance(target, str) and target.strip():
        return
    given = repr(target) if target is None or isinstance(target, str) else f"of type {type(target).__name__}"
    instead = "; pass str(…) of it" if "://" in str(target) else ""
    raise UnusableArgumentError(
        f"expected {TARGET} as a string, not {given}{_INSTEAD.get(type(target), instead)}"
    )


def check_base_url(url: object) -> None:
    """Check the address of a Jupyter server; None stands for the one that is found.

    Raises:
        UnusableArgumentError: it is no string.
    """
    if not (url is None or isinstance(url, str)):
        raise _wrong("url", "the base URL of a Jupyter server, as a string", url)


def check_timeout(seconds: object) -> None:
    """Check a number of seconds; None stands for the default.

    Raises:
        UnusableArgumentError: it is no number, or not above 0.
    """
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is None or (number and seconds > 0):  # type: ignore[operator]
        return
    raise UnusableArgumentError(
        f"timeout is a number of seconds above 0, or {math.inf} for no limit, not {seconds!r}"
    )


def check_options(*, token: Any, headers: Any, ssl: Any, reconnect: Any, on_state: Any) -> None:
    """Check the types of the options that all transports share; see :func:`.transport.websocket_transport`.

    Raises:
        UnusableArgumentError: one is of another type than documented. No value of a credential is repeated.
        UnusableHeaderError: the value of a header is no string.
    """
    if not (token is None or isinstance(token, str) or callable(token)):
        raise _wrong("token", "a string, or a function that returns one", token)
    if not (headers is None or isinstance(headers, Mapping)):
        raise _wrong("headers", "a mapping from names to values", headers)
    for name, value in (headers or {}).items():
        if not isinstance(name, str):
            raise _wrong("the name of a header", "a string", name)
        if not isinstance(value, str):
            raise UnusableHeaderError(
                name, f"has a value of type {type(value).__name__}; write it as a string"
            )
    if not (ssl is None or isinstance(ssl, ssl_module.SSLContext)):
        raise _wrong("ssl", "an ssl.SSLContext, or None to trust the system's certificates", ssl)
    if not (reconnect is None or isinstance(reconnect, Reconnect)):
        raise _wrong("reconnect", "a mcp_ws_ide.client.Reconnect(…), or None to never reconnect", reconnect)
    if not (on_state is None or callable(on_state)):
        raise _wrong("on_state", "a function that takes a state", on_state)


def _wrong(name: str, accepted: str, given: object) -> UnusableArgumentError:
    return UnusableArgumentError(f"{name} is {accepted}, not of type {type(given).__name__}")
