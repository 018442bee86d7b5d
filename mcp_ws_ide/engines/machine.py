"""The current boot of the machine: a commit that is not on the disk yet survives the end of a process, but not a crash
of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import psutil

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
"""Where Linux keeps a random id of its start."""
CLOCK_SECONDS: Final = 600
"""Seconds by which the time of a start may seem to change, as clocks are set, where there is no such id."""


def boot_id() -> str:
    """Return an id of the machine's current boot."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return f"started {int(psutil.boot_time()) // CLOCK_SECONDS}"
