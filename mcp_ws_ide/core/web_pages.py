"""What a web page in place of a message says to people. Pure."""

from __future__ import annotations

import html
import re
from typing import Final

_TITLE: Final = re.compile(rb"(?i)<title[^<>]{0,200}>([^<]{1,200})")
_HEADING: Final = re.compile(rb"(?i)<h1[^<>]{0,200}>([^<]{1,200})")


def title_of(body: bytes) -> str:
    """Return the title of a web page, or its heading, on one line; ``""`` if it has neither."""
    title = _TITLE.search(body) or _HEADING.search(body)
    return " ".join(html.unescape(title[1].decode(errors="replace")).split()) if title is not None else ""
