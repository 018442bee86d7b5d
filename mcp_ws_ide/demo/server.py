"""Tools, resources and prompts of the demo that both SDK majors register alike.

What differs between them (questions to the client, subscriptions) is in ``modern`` and ``legacy``; each
offers ``Server``, ``Context``, ``Image``, ``ToolError``, ``add_questions``, ``add_subscriptions``,
``resource_changed`` and ``tools_changed``.
"""

from __future__ import annotations

import base64
import os
from typing import Any

import anyio

try:
    from mcp_ws_ide.demo import modern as sdk
except ImportError:  # mcp 1.x
    from mcp_ws_ide.demo import legacy as sdk  # type: ignore[no-redef]

Context: Any = sdk.Context
"""Annotates the parameter that the SDK fills in; its type differs between the majors."""
COUNTER = "demo://counter"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP4X8GAFWEXHbQSAOGkXcFq3LySAAAAAElFTkSuQmCC"
)
"""A square of 8 × 8 pixels."""


class State:
    """What changes while the server runs."""

    def __init__(self) -> None:
        self.counter = 0
        self.grown = 0


def build() -> Any:
    """The server, ready to run."""
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
        """Give the text back."""
        return text

    @server.tool()
    def add(a: float, b: float) -> float:
        """The sum of two numbers, also as structured content."""
        return a + b

    @server.tool()
    def big(size: int) -> str:
        """A text of the given size, in characters (at most 64 Mi)."""
        return "x" * min(size, 64 << 20)

    @server.tool()
    def fail(text: str = "as you wished") -> str:
        """Fail with this text."""
        raise sdk.ToolError(text)

    @server.tool()
    def crash(exit_code: int = 1) -> str:
        """End the server process at once, without a word."""
        os._exit(exit_code)

    @server.tool()
    def image() -> Any:
        """A small picture."""
        return sdk.Image(data=PNG, format="png")


def _add_slow_tools(server: Any) -> None:
    @server.tool()
    async def slow(ctx: Context, steps: int = 5, delay: float = 0.2) -> str:
        """Take some steps of so many seconds each, and report progress after each; can be cancelled."""
        for step in range(steps):
            await anyio.sleep(delay)
            await ctx.report_progress(step + 1, steps, f"step {step + 1}")
        return f"{steps} steps done"

    @server.tool()
    async def log(ctx: Context, text: str = "hello") -> str:
        """Send a log message of each of four levels."""
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
        """Change the resource demo://counter and tell its subscribers."""
        state.counter += 1
        await sdk.resource_changed(ctx, COUNTER)
        return state.counter

    @server.tool()
    async def grow(ctx: Context) -> str:
        """Add a tool and tell everybody who listens."""
        state.grown += 1
        name = f"grown_{state.grown}"
        server.add_tool(lambda: f"I am {name}", name=name, description="A tool that was not there before.")
        await sdk.tools_changed(ctx)
        return name


def _add_prompts(server: Any) -> None:
    @server.prompt()
    def greet(name: str) -> str:
        """Ask for a greeting."""
        return f"Greet {name} kindly."
