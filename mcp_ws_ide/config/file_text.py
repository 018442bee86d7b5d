"""The text of a configuration file, whatever editor or shell has saved it. Pure.

Another encoding is read where it can be only one, with a notice. Everything else is refused by name. Knows nothing of
what the text means.
"""

from __future__ import annotations

import codecs
from typing import Final

ENCODINGS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Encodings by their byte order mark, the longer marks first."""
WIDTHS: Final[dict[tuple[bool, ...], str]] = {
    (False, True, True, True): "utf-32-le",
    (True, True, True, False): "utf-32-be",
    (False, True, False, True): "utf-16-le",
    (True, False, True, False): "utf-16-be",
}
"""Encodings by which of the first four bytes are NUL, if the text begins with two ASCII characters (RFC 4627 section
3); one in UTF-32."""


def decoded(data: bytes) -> tuple[str, str]:
    """Return the text of a file, and a notice if it is not in UTF-8; ``""`` if it is.

    Raises:
        ValueError: it is in no encoding that is certain, or holds NUL bytes; the message says where, and what to do.
    """
    encoding = _other_encoding(data)
    if encoding:
        try:
            text = data.decode(encoding).removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            reason = f"it begins in {encoding.upper()}, but byte {error.start} is not part of such a text"
            raise ValueError(f"{reason}; save it as UTF-8") from None
        notice = f"it is in {encoding.upper()} instead of UTF-8, and is read as such; save it as UTF-8"
    else:
        try:
            text, notice = data.decode("utf-8-sig"), ""
        except UnicodeDecodeError as error:
            raise ValueError(_not_utf8(data, error)) from None
    if "\0" in text:
        raise ValueError(_with_nul(text))
    return text, notice


def _other_encoding(data: bytes) -> str:
    """Return the encoding that is certain from the beginning, if it is not UTF-8; else ``""``."""
    for mark, encoding in ENCODINGS:
        if data.startswith(mark):
            return encoding
    return WIDTHS.get(tuple(byte == 0 for byte in data[:4]), "")


def _not_utf8(data: bytes, error: UnicodeDecodeError) -> str:
    if error.reason == "unexpected end of data":
        return "it ends in the middle of a character, so it may be cut off; save it again as UTF-8"
    where = place(data[: error.start].decode(errors="replace"))
    return (
        f"not UTF-8: byte 0x{data[error.start]:02X} at {where}; it may be in Windows-1252 or Latin-1, which cannot be "
        "told apart; save it as UTF-8 (for example with iconv -f WINDOWS-1252 -t UTF-8)"
    )


def _with_nul(text: str) -> str:
    if not text.strip("\0 \r\n\t"):
        return "it holds nothing but NUL bytes, as after a crash of the machine; restore it, or remove it"
    count, where = text.count("\0"), place(text[: text.index("\0")])
    number = f"{count} NUL bytes, the first" if count > 1 else "a NUL byte"
    return f"it holds {number} at {where}; remove them, and save it as UTF-8"


def place(before: str) -> str:
    """Return line and column of what follows ``before``."""
    return f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"
