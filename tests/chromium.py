"""The Chromium that tests drive."""

from __future__ import annotations

import shutil
from typing import Any, Final

_NAMES: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first is Chromium without the window around the page: a tab costs it a quarter of the processor time."""

CHROMIUM: Final = next(filter(None, map(shutil.which, _NAMES)), None)
"""Path of the program; None where there is none."""

LAUNCH: Final[dict[str, Any]] = {
    "executable_path": CHROMIUM,
    "args": [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ],
}
"""Arguments of Playwright's ``launch``."""
