"""Which start of the machine this is: a commit that was not on the disk survives a process, but not the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import psutil

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
"""Where Linux keeps a random id of its start."""
CLOCK_SECONDS: Final = 600
"""Seconds by which the time of a start may seem to change, as clocks are set, where there is no such id."""


def boot_id() -> str:
    """Return an id of the machine's present start."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return f"started {int(psutil.boot_time()) // CLOCK_SECONDS}"
