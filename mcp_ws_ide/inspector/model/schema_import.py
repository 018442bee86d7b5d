"""Import the check against schemas, without what it would load and never use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mcp_ws_ide.inspector.model.schemas import Schemas

GRAMMAR: Final = "rfc3987_syntax"
"""A package that jsonschema imports to check the format ``iri``, if it is there: it compiles a grammar for a second."""


def schemas() -> Schemas:
    """Return an empty :class:`Schemas`. The first call takes a tenth of a second; it may be made in a thread."""
    blocked = GRAMMAR not in sys.modules
    if blocked:
        sys.modules[GRAMMAR] = None  # type: ignore[assignment]  # an import of it fails, which jsonschema expects
    try:
        from mcp_ws_ide.inspector.model.schemas import Schemas
    finally:
        if blocked:
            sys.modules.pop(GRAMMAR, None)
    return Schemas()
