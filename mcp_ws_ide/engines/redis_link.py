"""The connection to a Redis server: checks what it is, runs scripts on it, and loads them where they are missing.

Knows nothing of sessions. Nothing is retried here: only the caller knows whether a retry is safe.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Awaitable, Sequence
from importlib import resources
from typing import Any, Final

from mcp_ws_ide.engines import redis_connection
from mcp_ws_ide.engines.base import EngineRefusedError, EngineUnavailableError
from mcp_ws_ide.engines.redis_address import RedisAddress
from mcp_ws_ide.engines.redis_connection import (
    Argument,
    Command,
    ProtocolError,
    RedisConnection,
    ReplyError,
)
from mcp_ws_ide.engines.server_clock import ServerClock

LEAST_VERSION: Final = 7
"""Oldest major version of Redis that is used: the scripts and the checks were written for it."""
SCRIPTS: Final = (
    *("commit", "put", "take", "end", "expire", "orphan", "list", "count", "claim", "measure"),
    *("lease", "instances", "forget", "release", "verify", "tokens", "add_token", "revoke_token"),
    "forget_tokens",
)
"""The files of ``engines/scripts``, each of which ``keys.lua`` begins."""
REPLICA: Final = "is a replica, which accepts no writes; use the primary"
REFUSED_WRITES: Final = {
    "OOM": "its memory is full (maxmemory)",
    "MISCONF": "it cannot save its data on its disk (MISCONF); its log says why",
}
"""Why a script was not run, by the code of the error."""
Call = tuple[str, Sequence[Argument]]
"""The name of a script and its arguments, after the prefix and the instance."""


class ScriptFailedError(EngineUnavailableError):
    """The server did not run a script, or stopped it. The text is the server's."""


def read_script(name: str) -> str:
    """Return the text of a script."""
    folder = resources.files("mcp_ws_ide.engines") / "scripts"
    return "\n".join((folder / f"{part}.lua").read_text("utf-8") for part in ("keys", name))


class RedisLink:
    """One connection, made when it is first needed and after each failure.

    Args:
        address: where the server is.
        instance: the id of this process among those that use the server.

    Attributes:
        facts: what the server said about itself when it was last asked, by name.
        clock: the server's clock.
    """

    def __init__(self, address: RedisAddress, instance: str) -> None:
        self.facts: dict[str, str] = {}
        self.clock = ServerClock()
        self._address = address
        self._begin = (address.prefix, instance)
        self._connection: RedisConnection | None = None
        self._digests: dict[str, bytes] = {}

    async def exchange(self, calls: Sequence[Call]) -> list[Any]:
        """Run scripts in this order, in one round trip.

        Returns:
            What each returned; a :class:`ScriptFailedError` for one that was not run.

        Raises:
            EngineUnavailableError: the server cannot be used, or did not answer: which scripts ran is not known.
            EngineRefusedError: the server must not be used as it is configured.
        """
        replies: list[Any] = await self._guarded(self._run(calls))
        if any(isinstance(reply, ReplyError) for reply in replies):
            missing = [index for index, reply in enumerate(replies) if _is_unknown_script(reply)]
            if missing:
                await self._guarded(self._load())
                again = await self._guarded(self._run([calls[index] for index in missing]))
                for index, reply in zip(missing, again, strict=True):
                    replies[index] = reply
            replies = [_failed(reply) if isinstance(reply, ReplyError) else reply for reply in replies]
        return replies

    async def ask(self) -> None:
        """Ask the server about itself (:attr:`facts`); raises as :meth:`exchange`."""
        await self._guarded(self._ask())

    def close(self) -> None:
        """End the connection; the next use makes another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # --- one connection -------------------------------------------------------------------------

    async def _guarded(self, work: Awaitable[Any]) -> Any:
        """Await work on the connection; end the connection if that fails."""
        try:
            return await work
        except BaseException as error:
            self.close()
            ours = isinstance(error, EngineRefusedError | EngineUnavailableError)
            if ours or not isinstance(error, Exception):
                raise
            raise EngineUnavailableError(f"Redis at {self._address} {_explained(error)}") from None

    async def _run(self, calls: Sequence[Call]) -> list[Any]:
        if self._connection is None:
            await self._connect()
        digests, begin = self._digests, self._begin
        return await self._send(
            [("EVALSHA", digests[name], 0, *begin, *arguments) for name, arguments in calls]
        )

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands; return their replies, which may be errors."""
        assert self._connection is not None
        replies = await self._connection.send(commands)
        for reply in replies:
            if isinstance(reply, ReplyError) and reply.code == "READONLY":
                raise reply  # the primary is another one now; its name may lead there
        return replies

    async def _connect(self) -> None:
        self._connection = await RedisConnection.opened(self._address)
        await self._ask()
        check_server(self.facts, str(self._address))
        await self._load()

    async def _ask(self) -> None:
        if self._connection is None:
            return await self._connect()
        asked = time.time()
        (reply,) = await self._send([("INFO",)])
        if isinstance(reply, ReplyError):
            raise reply
        lines = reply.decode("utf-8", "replace").splitlines()
        self.facts = {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}
        self.clock.note(asked, time.time(), self.facts.get("server_time_usec", ""))

    async def _load(self) -> None:
        if self._connection is None:
            return await self._connect()
        digests = await self._send([("SCRIPT", "LOAD", read_script(name)) for name in SCRIPTS])
        for digest in digests:
            if isinstance(digest, ReplyError):
                raise digest
        self._digests = dict(zip(SCRIPTS, digests, strict=True))


def check_server(facts: dict[str, str], address: str) -> None:
    """Check whether sessions may be stored on a server.

    Args:
        facts: what it says about itself.
        address: where it is.

    Raises:
        EngineRefusedError: they must not be stored there.
        EngineUnavailableError: they cannot be stored there at the moment.
    """
    version = facts.get("redis_version", "")  # Valkey has it too, as the version that it is compatible with
    major = version.partition(".")[0]
    if not major.isdigit() or int(major) < LEAST_VERSION:
        shown = version or "unknown"
        raise EngineRefusedError(f"Redis at {address} has version {shown}; use Redis 7 or newer, or Valkey")
    if facts.get("cluster_enabled") == "1":
        raise EngineRefusedError(
            f"Redis at {address} is a cluster; use a single primary; replicas are allowed"
        )
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise EngineRefusedError(
            f"Redis at {address} has maxmemory-policy {policy!r}, which would delete sessions; set it to 'noeviction'"
        )
    if facts.get("role") == "slave":
        raise EngineUnavailableError(f"Redis at {address} {REPLICA}")


def _is_unknown_script(reply: Any) -> bool:
    return isinstance(reply, ReplyError) and reply.code == "NOSCRIPT"


def _failed(error: ReplyError) -> ScriptFailedError:
    text = REFUSED_WRITES.get(error.code) or str(error).partition(" script: ")[0]
    return ScriptFailedError(f"Redis has refused to write: {text}")


def _explained(error: Exception) -> str:
    """Return a description of an error, as it follows the name of the server in a message."""
    if isinstance(error, TimeoutError):
        return f"does not answer within {redis_connection.TIMEOUT:g} s"
    if isinstance(error, ssl.SSLError):
        return f"cannot be reached over TLS: {error}"
    if isinstance(error, ProtocolError):
        return f"does not speak the protocol of Redis: {error}"
    if not isinstance(error, ReplyError):
        return f"cannot be reached: {error}"
    if error.code in ("WRONGPASS", "NOAUTH", "NOPERM"):
        return f"refuses the user or the password: {error}"
    if error.code == "LOADING":
        return "is still loading its data"
    if error.code == "READONLY":
        return REPLICA
    return f"answers with an error: {error}"
