"""Tools, resources and prompts of the demo that are the same for both SDK majors.

The differences (questions to the client, subscriptions) are in ``modern`` and ``legacy``; each provides ``Server``,
``Context``, ``Image``, ``ToolError``, ``add_questions``, ``add_subscriptions``, ``resource_changed`` and
``tools_changed``.
"""

from __future__ import annotations

import os
from typing import Any

import anyio

from mcp_ws_ide.demo import figures

try:
    from mcp_ws_ide.demo import modern as sdk
except ImportError:  # mcp 1.x
    from mcp_ws_ide.demo import legacy as sdk  # type: ignore[no-redef]

Context: Any = sdk.Context
"""Annotates the parameter that the SDK injects; its type differs between the majors."""
COUNTER = "demo://counter"


class State:
    """The demo's mutable state."""

    def __init__(self) -> None:
        self.counter = 0
        self.grown = 0


def build() -> Any:
    """Return the server, ready to run."""
    server, state = sdk.Server("mcp-ws-ide-demo"), State()
    _add_plain_tools(server)
    _add_slow_tools(server)
    _add_changing(server, state)
    _add_prompts(server)
    sdk.add_questions(server)
    sdk.add_subscriptions(server)
    return server


def _add_plain_tools(server: Any) -> None:
    @server.tool()
    def echo(text: str) -> str:
        """Return the text."""
        return text

    @server.tool()
    def add(a: float, b: float) -> float:
        """Return the sum of two numbers, also as structured content."""
        return a + b

    @server.tool()
    def big(size: int) -> str:
        """Return a text of the given size, in characters (at most 64 Mi)."""
        return "x" * min(size, 64 << 20)

    @server.tool()
    def fail(text: str = "failed as requested") -> str:
        """Fail with this text."""
        raise sdk.ToolError(text)

    @server.tool()
    def crash(exit_code: int = 1) -> str:
        """End the server process at once."""
        os._exit(exit_code)

    @server.tool()
    def image() -> Any:
        """Return a chart as an image."""
        return sdk.Image(data=figures.chart(), format="png")

    @server.tool()
    def table() -> list[dict[str, Any]]:
        """Return a list of objects: the requests and errors of each month."""
        return figures.table()

    @server.tool()
    def report() -> str:
        """Return a report in Markdown."""
        return figures.report()


def _add_slow_tools(server: Any) -> None:
    @server.tool()
    async def slow(ctx: Context, steps: int = 5, delay: float = 0.2) -> str:
        """Take a number of steps, each of so many seconds, and report progress after each; can be cancelled."""
        for step in range(steps):
            await anyio.sleep(delay)
            await ctx.report_progress(step + 1, steps, f"step {step + 1}")
        return f"{steps} steps done"

    @server.tool()
    async def log(ctx: Context, text: str = "hello") -> str:
        """Send a log message at each of four levels."""
        for send in (ctx.debug, ctx.info, ctx.warning, ctx.error):
            await send(text)
        return "logged"


def _add_changing(server: Any, state: State) -> None:
    @server.resource(COUNTER)
    def counter() -> str:
        """How often the tool bump was called."""
        return str(state.counter)

    @server.resource("demo://item/{item_id}")
    def item(item_id: str) -> str:
        """A resource from a template."""
        return f"item {item_id}"

    @server.tool()
    async def bump(ctx: Context) -> int:
        """Change the resource demo://counter and notify its subscribers."""
        state.counter += 1
        await sdk.resource_changed(ctx, COUNTER)
        return state.counter

    @server.tool()
    async def grow(ctx: Context) -> str:
        """Add a tool and notify every listener."""
        state.grown += 1
        name = f"grown_{state.grown}"
        server.add_tool(lambda: f"I am {name}", name=name, description="A tool that was added later.")
        await sdk.tools_changed(ctx)
        return name


def _add_prompts(server: Any) -> None:
    @server.prompt()
    def greet(name: str) -> str:
        """Ask for a greeting."""
        return f"Greet {name} kindly."
