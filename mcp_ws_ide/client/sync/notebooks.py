"""Where this process runs: under IPython, and in a notebook. IPython is not imported for that."""

from __future__ import annotations

import sys
from typing import Any


def shell() -> Any:
    """Return the running IPython; None outside of one."""
    module = sys.modules.get("IPython")
    return None if module is None else module.get_ipython()


def kernel() -> Any:
    """Return the kernel of the notebook; None in a terminal or a script."""
    return getattr(shell(), "kernel", None)
