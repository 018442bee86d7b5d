"""Serve the demo over stdio."""

from __future__ import annotations

from mcp_ws_ide.demo.server import build


def main() -> None:
    """Run until stdin ends."""
    build().run("stdio")


if __name__ == "__main__":
    main()
