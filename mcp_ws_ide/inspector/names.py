"""The servers and sessions that a command line names: refused if there are none, as a mistyped one would match nothing.

Knows the gateway's lists; what a recording holds is told by the caller.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from mcp_ws_ide.errors import ConnectError, UnusableArgumentError
from mcp_ws_ide.rest_client import GatewayClient

MAX_NAMED: Final = 20
"""Names that an error lists."""


def check_live(client: GatewayClient, server: str | None, session: str | None) -> None:
    """Refuse a server that is not configured, and the beginning of an id that no session has.

    A gateway token may watch, but not list servers: then nothing is checked.

    Raises:
        UnusableArgumentError: there is no such server or session.
    """
    try:
        servers = client.call("GET", "servers")["servers"] if server else []
        sessions = client.call("GET", "sessions")["sessions"] if session else []
    except ConnectError:
        return
    if server:
        titles = {entry.get("title", entry["name"]): entry["name"] for entry in servers}
        _check_server(server, titles)
    ids = [entry["id"] for entry in sessions]
    if session and not any(known.startswith(session) for known in ids):
        raise UnusableArgumentError(
            f"no session has an id that begins with {session!r}; sessions: {listed(ids)}"
        )


def _check_server(server: str, addresses: dict[str, str]) -> None:
    """Check a server, or each member of a group ``+a+b``, which exists once it is requested."""
    known = sorted(addresses.values())
    for name in [part for part in server.split("+") if part] if server.startswith("+") else [server]:
        if name in known:
            continue
        if name in addresses:
            raise UnusableArgumentError(f"server {name!r} has the address {addresses[name]!r}; give that")
        raise UnusableArgumentError(f"server {name!r} is not configured; configured servers: {listed(known)}")


def check_recorded(path: str, what: str, name: str, known: Collection[str]) -> None:
    """Refuse what a recording does not hold.

    Args:
        what: ``server`` or ``session``; a session may be given by the beginning of its id.
        known: those in the recording.

    Raises:
        UnusableArgumentError: it has none of this name.
    """
    if not any(one.startswith(name) if what == "session" else one == name for one in known):
        raise UnusableArgumentError(
            f"{path} has no message of {what} {name!r}; {what}s in it: {listed(sorted(known))}"
        )


def listed(names: Collection[str]) -> str:
    """Return names for a person: not too many, and ``none`` if there are none."""
    shown = list(names)[:MAX_NAMED]
    return ", ".join([*shown, "…"] if len(names) > MAX_NAMED else shown) or "none"
