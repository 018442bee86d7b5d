"""What has to work through every proxy: WebSocket, a cut link, Streamable HTTP, an event that is not held back.

A test module derives from :class:`ThroughAProxy` and gives the fixture ``outside``; knows no particular proxy.
"""

from __future__ import annotations

import json
import ssl
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx
import pytest

from mcp_ws_ide.client import Reconnect, connect
from tests.chaos import ChaosLink
from tests.conftest import BOUND, MODERN, Jupyter, Peer, response_in, until
from tests.handlers.test_streamable_http import Http, events, lines


class Outside(Jupyter):
    """A Jupyter server as a client beyond a proxy sees it; starts and stops nothing.

    Args:
        url: the public base URL, with its final slash.
        token: Jupyter's, or the one that the proxy accepts in its place.
        headers: those that the proxy itself requires.
    """

    tls: ssl.SSLContext | None = None

    def __init__(self, url: str, token: str, headers: dict[str, str] | None = None) -> None:
        self.url, self.token, self.headers = url, token, headers or {}
        port = urlsplit(url).port
        assert port is not None
        self.port = port

    def behind(self, port: int) -> Outside:
        """The same, reached through a further port of this machine."""
        return Outside(self.url.replace(f":{self.port}/", f":{port}/", 1), self.token, self.headers)

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        return super().request(method, path, body, {**self.headers, **(headers or {})})

    def connect(self, name: str = "fast", **options: Any) -> Any:
        mine = options.pop("additional_headers", {"Authorization": f"Bearer {self.token}"})
        return super().connect(name, additional_headers={**self.headers, **mine}, **options)

    def http(self, client: httpx.AsyncClient) -> Http:
        """A client of Streamable HTTP."""
        http = Http(self, client)
        http.headers.update(self.headers)
        return http


class ThroughAProxy:
    """The contract. ``outside`` has the servers ``fast`` and ``demo`` of ``tests/conftest.py``, and no session."""

    passes_on_closing: ClassVar = True
    """Whether the proxy closes its own request when its client closes the response, which cancels the call."""

    async def test_a_websocket_carries_calls(self, outside):
        async with outside.connect() as link:
            assert link.subprotocol == "mcp"
            text = "x" * 1_000_000
            answer = await Peer(link).call(7, "tools/call", {"name": "echo", "arguments": {"text": text}})
            assert (answer["id"], answer["result"]["content"][0]["text"]) == (7, text)

    async def test_a_call_survives_a_cut_in_front_of_the_proxy(self, outside):
        states: list[Any] = []
        policy = Reconnect(first_delay=0.05, max_delay=0.2)
        async with ChaosLink(outside.port, seed=1) as chaos:
            url = outside.behind(chaos.port).endpoint("demo")
            options = {"token": outside.token, "headers": outside.headers, "reconnect": policy}
            async with connect(url, on_state=states.append, **options) as client:
                seen: list[float] = []

                async def progress(done, total, message):
                    seen.append(done)
                    if done == 2:
                        assert chaos.cut("reset") == "reset"

                result = await client.call_tool(
                    "slow", {"steps": 5, "delay": 0.1}, progress_callback=progress
                )
                assert result.content[0].text == "5 steps done"
                assert seen == [1, 2, 3, 4, 5]
            assert chaos.accepted == 2
        assert [type(state).__name__ for state in states].count("Resumed") == 1

    async def test_both_eras_of_streamable_http_are_answered(self, outside):
        async with httpx.AsyncClient(timeout=BOUND) as client:
            modern = outside.http(client)
            answer = await modern.modern(1, "tools/call", {"name": "echo", "arguments": {"text": "x"}})
            assert response_in(answer)["result"]["content"][0]["text"] == "x"
            legacy = outside.http(client)
            await legacy.initialize()
            called = await legacy.legacy("a", "slow", {"steps": 1, "delay": 0})
            assert [message.get("id") for _, message in events(called)] == [None, None, "a"]
            assert (await client.delete(legacy.url, headers=legacy.headers)).status_code == 204
            assert (await legacy.legacy("b", "pid")).status_code == 404

    @pytest.mark.parametrize("era", ["modern", "legacy"])
    async def test_an_event_arrives_while_its_call_runs(self, outside, era):
        async with httpx.AsyncClient(timeout=BOUND) as client:
            http = outside.http(client)
            if era == "legacy":
                await http.initialize()
            async with a_call_of_an_hour(http, era) as response:
                _, first = await anext(lines(response))
                assert first["params"]["progress"] == 0
                (session,) = outside.rest("GET", "sessions")[1]["sessions"]
                assert session["in_flight"] == 1, "the call has not ended"
            if era == "legacy":
                await client.delete(http.url, headers=http.headers)
            elif not self.passes_on_closing:
                assert outside.rest("DELETE", f"sessions/{session['id']}")[0] == 204
        gone = "the end of the session, because its response was closed or it was deleted"
        await until(lambda: outside.rest("GET", "sessions")[1]["sessions"] == [], what=gone)


def a_call_of_an_hour(http: Http, era: str) -> AbstractAsyncContextManager[httpx.Response]:
    """A call that reports progress at once and then nothing for an hour."""
    meta: dict[str, Any] = {"progressToken": "p"}
    headers = {**http.headers, "Content-Type": "application/json"}
    if era == "modern":
        meta |= MODERN
        headers |= {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "slow"}
    params = {"name": "slow", "arguments": {"steps": 1, "delay": 3600}, "_meta": meta}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return http.client.stream("POST", http.url, content=json.dumps(message), headers=headers)
