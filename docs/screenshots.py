"""``make screenshots``: the pictures of docs/guides/inspector.md, of the real program on real traffic.

Starts a Jupyter server with the extension and two servers, lets clients of both eras talk (a resumed link, a cancelled
call, a round of questions, a server that crashes, violations, a call that hangs), drives the inspector by its
keys, and writes what it shows as SVG to docs/images.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from mcp.types import ElicitResult

from mcp_ws_ide.client import Reconnect, connect
from mcp_ws_ide.discovery import RunningGateway
from mcp_ws_ide.inspector.app.app import InspectorApp

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
SIZE = (120, 30)
sys.path.insert(0, str(ROOT))

from tests.conftest import DEMO, FAST_SERVER, Jupyter, Peer, until  # noqa: E402 - the project's own test server


class Road:
    """A TCP connection through which a client goes, and which can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []
        self.server: asyncio.Server | None = None

    async def __aenter__(self) -> Road:
        self.server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self.server is not None
        self.server.close()
        self.cut()

    def cut(self) -> None:
        """Lose every link at once, without a goodbye."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_gateway, from_gateway = await asyncio.open_connection("127.0.0.1", self._port), writer
        self._writers += [writer, to_gateway[1]]

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(1 << 16):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        async with asyncio.TaskGroup() as group:
            group.create_task(copy(reader, to_gateway[1]))
            group.create_task(copy(to_gateway[0], from_gateway))


async def agree(*arguments: Any) -> ElicitResult:
    """Answer the question of the demo server."""
    return ElicitResult(action="accept", content={"name": "Ann", "agree": True})


@contextlib.asynccontextmanager
async def traffic(jupyter: Jupyter) -> AsyncIterator[None]:
    """Clients of both eras; the last call hangs until the end."""
    async with contextlib.AsyncExitStack() as stack:
        await modern(jupyter, stack)
        await handshake(jupyter)
        await mistakes(jupyter)
        hanging = Peer(
            await stack.enter_async_context(jupyter.connect("build", user_agent_header="build-bot/2"))
        )
        arguments = {"steps": 9, "delay": 600}
        params = {"name": "slow", "arguments": arguments, "_meta": {"progressToken": 7}}
        await hanging.send(id="stuck", method="tools/call", params=params)
        await hanging.receive()
        yield


async def modern(jupyter: Jupyter, stack: contextlib.AsyncExitStack) -> None:
    """An agent of the modern era, which loses its link once and resumes."""
    road = await stack.enter_async_context(Road(jupyter.port))
    states: list[str] = []
    client = await stack.enter_async_context(
        connect(
            f"ws://127.0.0.1:{road.port}/mcp-ws/servers/demo",
            token=jupyter.token,
            mode="2026-07-28",
            reconnect=Reconnect(first_delay=0.1),
            on_state=lambda state: states.append(type(state).__name__),
            elicitation_callback=agree,
        )
    )
    await client.list_tools()
    for text in ("one", "two"):
        await client.call_tool("echo", {"text": text})
    await client.call_tool("add", {"a": 1, "b": 2})
    await client.call_tool("elicit", {})
    road.cut()
    await until(lambda: "Resumed" in states, what="the resumed link")
    await client.call_tool("big", {"size": 4000})
    await client.call_tool("slow", {"steps": 3, "delay": 0.05})
    with contextlib.suppress(Exception):
        await client.call_tool("fail", {"text": "no such cell"})


async def handshake(jupyter: Jupyter) -> None:
    """An agent of the handshake era, which cancels a call and then brings its server down."""
    async with jupyter.connect("demo", user_agent_header="old-agent/1.4") as link:
        peer = Peer(link)
        await peer.initialize()
        await peer.send(id=1, method="tools/list")
        await peer.receive()
        params = {"name": "slow", "arguments": {"steps": 50}, "_meta": {"progressToken": 1}}
        await peer.send(id=2, method="tools/call", params=params)
        await peer.receive()
        await peer.send(
            method="notifications/cancelled", params={"requestId": 2, "reason": "the user pressed stop"}
        )
        await peer.send(id=3, method="tools/call", params={"name": "crash", "arguments": {}})
        with contextlib.suppress(Exception):
            while (await peer.receive()).get("id") != 3:
                pass


async def mistakes(jupyter: Jupyter) -> None:
    """A client that breaks rules."""
    async with jupyter.connect("demo", user_agent_header="careless/0.1") as link:
        peer = Peer(link)
        await peer.initialize()
        slow = {"name": "slow", "arguments": {"steps": 2, "delay": 0.1}}
        await peer.send(id=1, method="tools/call", params=slow)
        await peer.send(id=1, method="tools/call", params=slow)
        await peer.send(id=2, method="tools/call", params={"name": "echo", "arguments": {"text": 7}})
        while (await peer.receive()).get("id") != 2:
            pass


async def main() -> None:
    """Make every picture."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        jupyter = Jupyter(Path(home), {"demo": DEMO, "build": FAST_SERVER})
        try:
            await photograph(jupyter)
        finally:
            jupyter.stop()


async def photograph(jupyter: Jupyter) -> None:
    """Drive the inspector through its screens."""
    app = InspectorApp(lambda: RunningGateway(jupyter.url, jupyter.token))
    async with app.run_test(size=SIZE, notifications=True) as pilot:

        async def shot(name: str) -> None:
            await pilot.pause(0.6)  # the header is drawn twice a second
            (IMAGES / f"{name}.svg").write_text(plain(app.export_screenshot(title="mcp-ws-inspect")))
            print(f"docs/images/{name}.svg")

        await until(lambda: "LIVE" in app.head.text, what="the link")
        async with traffic(jupyter):
            await pilot.pause(6.0)  # the call that hangs becomes a problem after 5 s
            store, traffic_ = app.journal.store, app.traffic
            rows = range(store.first, store.end)
            asked = next(r for r in rows if store.target_of(r) == "elicit" and store.lane_of(r) == 1)
            await pilot.press("g", *["pagedown"])
            await shot("traffic")
            await pilot.press("T", "g", *["j"] * 4)
            await shot("timeline")
            await pilot.press("T")
            app.jump(asked)
            await pilot.press("enter", "right_square_bracket", "right_square_bracket")
            await shot("detail")
            await pilot.press("right_square_bracket")
            await shot("timing")
            await pilot.press("escape", "3", "g")
            await shot("ladder")
            await pilot.press("1")
            await shot("sessions")
            await pilot.press("4")
            await shot("stats")
            await pilot.press("5")
            await shot("capabilities")
            await pilot.press("6")
            await shot("problems")
            await pilot.press("2", "slash", *"tool:slow ".replace(" ", ""), "space", *"lat:>>5")
            await shot("filter")
            await pilot.press("escape")
            app.jump(asked)
            await pilot.press("y", "y", "y")
            await shot("copy")
            await pilot.press("escape", "question_mark")
            await shot("help")
            await pilot.press("escape")
            assert traffic_.count()


def plain(svg: str) -> str:
    """Without fonts from elsewhere: whoever reads this fetches nothing."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code, monospace", "ui-monospace, DejaVu Sans Mono, monospace").replace(
        "font-family: Fira Code", "font-family: ui-monospace, DejaVu Sans Mono, monospace"
    )


if __name__ == "__main__":
    asyncio.run(main())
