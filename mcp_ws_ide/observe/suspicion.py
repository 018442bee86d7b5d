"""Whether raw JSON may contain a secret: one pass over the bytes of each message that is watched.

May take harmless messages for suspicious, which costs time, but never the reverse: a message without suspicion contains
nothing that :mod:`.secret_rules` hides, however its JSON escapes characters (tests/observe/test_needles.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from mcp_ws_ide.observe.literals import finder_of_first
from mcp_ws_ide.observe.secret_rules import FORMS, NAMES, fold_bytes

_ALWAYS: Final = None
_NEVER: Final = re.compile(rb"(?!)")
_ALONE: Final = re.compile(rb"(?<![a-z0-9])sk-|(?<=\\[bfnrt])sk-|(?<=\\u[0-9a-f]{4})sk-")
_KEY: Final = re.compile(
    rb"(?:(?<=[a-z_.-])|(?<=(?:api|ess|ate|ret|ing|ion|uth|unt) ))key|(?<=[?&;6])key(?:=|\\u003d)"
)
_PARAMETER: Final = re.compile(rb"(?<=[?&;6bf])(?:ticket|code|sig|signature)(?:=|\\u003d)|[a-z]+\\u003[0-9a]")
"""A parameter of a query. ``?``, ``&`` and ``;`` may be escaped: their numbers end in f, 6 and b.

What follows may be another escape that is suspicious (:data:`_ESCAPED`).
"""
_USERINFO: Final = re.compile(rb":(?:/|\\/){2}[^/?#\s\"]{0,1800}@")
"""At most 300 characters before the ``@``, each at most six bytes."""
_ESCAPED: Final = re.compile(rb"\\u00(?:2[0def]|3[0-9a]|4|5|6[1-9a-f]|7)")
"""A character of a needle or of a known value; others are escaped by libraries that keep JSON out of HTML."""

CONDITIONS: Final[Mapping[bytes, re.Pattern[bytes] | None]] = {
    # In this order, because the first of several needles at one place wins.
    b"tokensecret": _ALWAYS,
    **dict.fromkeys((b"progresstoken", b"progress_token", b"pagetoken", b"page_token", b"tokens"), _NEVER),
    **dict.fromkeys([name.encode() for name in NAMES], _ALWAYS),
    **dict.fromkeys([form.encode() for form in FORMS], _ALWAYS),
    b"key": _KEY,
    b"sk-": _ALONE,
    **dict.fromkeys((b"basic", b"digest ", b"digest\t", rb"digest\t"), _ALWAYS),
    **{
        name + equals: _PARAMETER
        for name in (b"ticket", b"code", b"sig", b"signature")
        for equals in (b"=", rb"\u003")
    },
    **dict.fromkeys((b"://", rb":/\/", rb":\/"), _USERINFO),
    **dict.fromkeys((rb"\u002", rb"\u003", rb"\u004", rb"\u005", rb"\u006", rb"\u007"), _ESCAPED),
    # ſ, ı, İ and K
    **dict.fromkeys((rb"\u017f", rb"\u0131", rb"\u0130", rb"\u212a"), _ALWAYS),
}
"""What is suspicious, in lower case, and what must match there as well; None where nothing must.

With at most 64 needles, the automaton skips harmless text with vector instructions, four times as fast.
"""

_find: Final = finder_of_first(list(CONDITIONS))
_CONDITIONS: Final = list(CONDITIONS.values())


def may_contain_secret(data: bytes) -> bool:
    """Whether JSON text may contain something that the rules hide."""
    folded = data.lower() if data.isascii() else fold_bytes(data)
    for needle, start, _ in _find(folded):
        condition = _CONDITIONS[needle]
        if condition is None or condition.match(folded, start) is not None:
            return True
    return False
