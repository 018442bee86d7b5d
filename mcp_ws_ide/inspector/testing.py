"""For tests that ``mcp-ws-inspect export --format pytest`` writes: replay a session against a server, and compare."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from mcp_ws_ide.discovery import endpoint_url
from mcp_ws_ide.inspector.choosing import endpoint
from mcp_ws_ide.inspector.model.difference import Path
from mcp_ws_ide.inspector.model.records import TARGETS, part
from mcp_ws_ide.inspector.private import PrivateGateway
from mcp_ws_ide.inspector.replay import Replay, ReplayStep, Script, lines

Step = tuple[dict[str, Any], dict[str, Any] | None]
"""A request and its response, without ``id`` and ``jsonrpc``; None for a notification."""
SESSION = ""
"""The one session that is replayed at a time has no name."""


class ReplayServer:
    """The server that sessions are replayed against; use it as a context manager.

    Args:
        target: the command of a stdio server, which runs behind a gateway of its own; or the URL of an endpoint at a
            running gateway.

    Raises:
        ValueError: there is no target.
        CannotWrapError: the command is no MCP server.
        ConnectError: the endpoint refuses, or cannot be reached.
    """

    def __init__(self, target: str) -> None:
        if not target.strip():
            raise ValueError('set MCP_SERVER, for example MCP_SERVER="python my_server.py"')
        self._target = target
        self._stack = contextlib.ExitStack()
        self._url = self._token = ""

    def __enter__(self) -> Self:
        if self._target.startswith(("ws://", "wss://", "http://", "https://")):
            self._url, self._token = endpoint(self._target)
            return self
        with contextlib.ExitStack() as stack:
            private = stack.enter_context(PrivateGateway(shlex.split(self._target)))
            private.greet()
            self._url, self._token = endpoint_url(private.gateway, private.name), private.gateway.token
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def differences(
        self,
        steps: Sequence[Step],
        answers: Mapping[str, Sequence[dict[str, Any]]] | None = None,
        ignore: Sequence[str] = (),
        timeout: float = 30.0,
    ) -> list[str]:
        """Send the requests of one session; return how the responses differ, a line each.

        Args:
            answers: what the client answers when the server asks, by method and in order.
            ignore: paths of responses that may differ, for example ``result.content[*].text``.
            timeout: seconds that one response may take.
        """
        script = Script(
            [_step(number, *step) for number, step in enumerate(steps, 1)],
            answers={
                (SESSION, method): deque(map(_message, given)) for method, given in (answers or {}).items()
            },
        )
        replay = Replay(
            script, self._url, self._token, timeout=timeout, ignore=[Path(text) for text in ignore]
        )
        return asyncio.run(_different(replay))


async def _different(replay: Replay) -> list[str]:
    return [
        line.removeprefix("≠ ")
        async for outcome in replay.run()
        if not outcome.same
        for line in lines(outcome, str)
    ]


def _step(number: int, request: dict[str, Any], answer: dict[str, Any] | None) -> ReplayStep:
    params = request.get("params")
    target = next((value for name in TARGETS if isinstance(value := part(params, name), str)), "")
    method = str(request.get("method"))
    return ReplayStep(number, number, SESSION, "", method, target, _message(request), answer)


def _message(members: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", **members}
