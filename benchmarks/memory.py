"""Memory of server processes: many agents on one shared process, and on a process each.

A node server behind a real gateway, once with ``sharing: always`` and once with ``auto``, the agents half modern, half
of the handshake era. Counts the proportional set size (PSS) of everything that Jupyter has started, which shares
out pages that several processes map. Needs Linux, Node and the npm packages (``make bench-memory``). Prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from mcp_ws_ide.client import connect  # noqa: E402
from tests.conftest import Jupyter  # noqa: E402
from tests.interop.conftest import PACKAGES, node  # noqa: E402

MIB = 1 << 20


def pss(process: psutil.Process) -> int:
    return sum(child.memory_full_info().pss for child in process.children(recursive=True))


async def measure(jupyter: Jupyter, name: str, agents: int) -> tuple[int, int]:
    """Server processes, and their memory in bytes, with so many agents at work."""
    process = psutil.Process(jupyter.process.pid)
    before = pss(process)
    async with AsyncExitStack() as stack:
        for number in range(agents):
            mode = "2026-07-28" if number % 2 else "legacy"
            client = await stack.enter_async_context(
                connect(jupyter.endpoint(name), token=jupyter.token, mode=mode)
            )
            await client.list_tools()
        return len(jupyter.processes(name)), pss(process) - before


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agents", type=int, default=32)
    options = parser.parse_args()
    program = node()
    if program is None or not PACKAGES.exists():
        sys.exit("Node with the npm packages is missing; use 'make bench-memory'")
    script = PACKAGES / "@modelcontextprotocol" / "server-memory" / "dist" / "index.js"
    with tempfile.TemporaryDirectory() as folder:
        entry = {
            "command": program,
            "args": [str(script)],
            "env": {"MEMORY_FILE_PATH": f"{folder}/memory.json"},
        }
        servers = {sharing: {**entry, "mcp_ws": {"sharing": sharing}} for sharing in ("always", "auto")}
        home = Path(folder) / "home"
        home.mkdir()
        jupyter = Jupyter(home, servers)
        try:
            print(
                f"{options.agents} agents on @modelcontextprotocol/server-memory, half of each protocol era\n"
            )
            print("| sharing | processes | memory of all, MiB | per agent, MiB |")
            print("|---|---|---|---|")
            for sharing in servers:
                count, size = await measure(jupyter, sharing, options.agents)
                print(f"| `{sharing}` | {count} | {size / MIB:.0f} | {size / MIB / options.agents:.1f} |")
        finally:
            jupyter.stop()


if __name__ == "__main__":
    asyncio.run(main())
