"""What uvloop spares: CPU per call of a Jupyter on uvloop against one on asyncio's own loop, in interleaved rounds.

uvloop is chosen as docs/operate/event-loop.md says. Both Jupyters run on one core, the load client and the MCP servers
on another. Prints Markdown.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path
from typing import Final

from bench import HERE, Rig, compile_programs, spread

PAGE: Final = HERE.parent / "docs" / "operate" / "event-loop.md"
LOADS: Final = ((32, 4), (1, 1))
"""Clients, and the share of the calls that they make."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=5000, help="calls per round of one client")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plain, fast = Path(folder, "asyncio"), Path(folder, "uvloop")
        for build in (plain, fast):
            build.mkdir()
            compile_programs(build)
        chosen = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        assert chosen is not None, PAGE
        (fast / "jupyter_server_config.py").write_text(chosen[1])
        with Rig(plain) as own, Rig(fast) as uv:
            print("| clients | asyncio µs/call | uvloop µs/call | ratio |\n|---|---|---|---|")
            for clients, share in LOADS:
                print(row(own, uv, clients, options.calls * share, options.rounds), flush=True)


def row(own: Rig, uv: Rig, clients: int, calls: int, rounds: int) -> str:
    """Measure one load on both."""
    before, after = [], []
    for number in range(rounds + 1):
        asyncio_cpu, _ = own.measure("gateway", clients, 1024, calls)
        uvloop_cpu, _ = uv.measure("gateway", clients, 1024, calls)
        if number:  # the first round warms up
            before.append(asyncio_cpu)
            after.append(uvloop_cpu)
    ratios = [b / a for a, b in zip(before, after, strict=True)]
    return f"| {clients} | {spread(before, 0)} | {spread(after, 0)} | {spread(ratios, 2)} |"


if __name__ == "__main__":
    main()
