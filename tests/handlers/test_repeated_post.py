"""POSTs whose head repeats: what they leave in memory. Their answers are tested in test_streamable_http.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

BENCHMARKS: Final = Path(__file__).parents[2] / "benchmarks"
COUNT: Final = """
import asyncio, gc
from instructions import http_calls
from mcp_ws_ide.handlers.repeated_post import RepeatedPost

async def main():
    gc.disable()
    await http_calls(140)
    print(sum(isinstance(thing, RepeatedPost) for thing in gc.get_objects()))

asyncio.run(main())
"""
"""Makes calls over HTTP as ``make bench-instructions`` does; prints how many of their objects are left."""


def test_an_answered_post_is_freed_without_the_garbage_collector():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(BENCHMARKS), *sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", COUNT], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0"], done.stderr
