"""The version of this distribution, which hatch reads from here, and how it was built."""

from importlib.util import find_spec

__version__ = "0.1.0"


def build() -> str:
    """Return how the modules on a message's path run here: ``compiled`` (by mypyc) or ``pure Python``."""
    spec = find_spec("mcp_ws_ide.core.multiplexer")
    return "compiled" if spec is not None and not str(spec.origin).endswith(".py") else "pure Python"
