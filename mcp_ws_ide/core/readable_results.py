"""Whether clients can read the result of a call. Pure; knows nothing of messages.

The SDKs' clients validate a result as a whole: one content item without a type, or an image that is not base64, costs
them all items. This module only tells such results from the others, in the one decoding that the parser needs anyway;
:mod:`mcp_ws_ide.core.call_results` mends them.
"""

from __future__ import annotations

import binascii
import re
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw

from mcp_ws_ide.core.result_types import (
    Audio,
    Contents,
    Embedded,
    Image,
    Initialized,
    Item,
    Link,
    LongText,
    PromptMessage,
    Result,
    SmallResult,
)
from mcp_ws_ide.core.usable_uris import is_usable

SMALL: Final = 1 << 14
"""Results up to this size, in bytes, are decoded with their texts, which is faster than looking at each item."""
CHECKED: Final = 1 << 12
"""Bytes of base64 that are checked completely; of more, both ends and what usually goes wrong."""
_END: Final = 64
"""Characters of each end that are checked."""
_QUOTE: Final = ord('"')
_BLANK: Final = re.compile(rb"\s|\\[nrt]|\\(?=/)")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]*={0,2}", re.ASCII)

_decode_initialized: Final = msgspec.json.Decoder(Initialized).decode
_decode_small: Final = msgspec.json.Decoder(SmallResult).decode
_decode_any: Final = msgspec.json.Decoder(Result).decode
_decode_item: Final = msgspec.json.Decoder(Item).decode
_decode_contents: Final = msgspec.json.Decoder(Contents).decode
_decode_message: Final = msgspec.json.Decoder(PromptMessage).decode
_decode_raw: Final = msgspec.json.Decoder(Raw).decode


def is_readable(result: bytes, strict: bool = True) -> bool:
    """Return whether a result is one of a call, which clients can read, whichever call it answers.

    Args:
        result: a JSON object, UTF-8.
        strict: whether clients of the handshake era must be able to, of which some refuse URIs without a scheme.

    Raises:
        msgspec.DecodeError: it is not JSON.
        UnicodeDecodeError: it is not UTF-8.
        RecursionError: it is nested too deeply.
    """
    if len(result) <= SMALL:
        try:
            small = _decode_small(result)
        except msgspec.ValidationError:
            pass
        else:
            return small.content is not UNSET or _has_items(small)
    try:
        whole = _decode_any(result)
    except msgspec.ValidationError:
        _decode_raw(result)  # the rest may be no JSON at all
        return False
    is_good = _is_strict_item if strict else _is_item
    return (
        _has_items(whole)
        and all(map(is_good, whole.content or ()))
        and all(map(_are_contents, whole.contents or ()))
        and all(is_good(message.content) for message in whole.messages or ())
    )


def _has_items(result: SmallResult | Result) -> bool:
    """Return whether a result has the member that one of a call must have."""
    return not (
        result.content is UNSET
        and result.contents is UNSET
        and result.messages is UNSET
        and result.completion is UNSET
    )


def is_handshake(result: bytes, strict: bool = True) -> bool:
    """Return whether clients, of any era, can read the result of ``initialize``, a JSON object."""
    try:
        _decode_initialized(result)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def is_item(item: bytes) -> bool:
    """Return whether clients can read a content item, as JSON."""
    try:
        return _is_item(_decode_item(item))
    except (msgspec.DecodeError, RecursionError):
        return False


def are_contents(contents: bytes) -> bool:
    """Return whether clients can read an item of ``resources/read``, as JSON."""
    try:
        return _are_contents(_decode_contents(contents))
    except (msgspec.DecodeError, RecursionError):
        return False


def is_prompt_message(message: bytes) -> bool:
    """Return whether clients can read a message of a prompt, as JSON."""
    try:
        return _is_item(_decode_message(message).content)
    except (msgspec.DecodeError, RecursionError):
        return False


def _is_item(item: Any) -> bool:
    kind = type(item)
    if kind is LongText:
        return _is_string(item.text)
    if kind is Image or kind is Audio:
        return is_base64(item.data)
    return _are_contents(item.resource) if kind is Embedded else True


def _is_strict_item(item: Any) -> bool:
    """Return whether clients of the handshake era can read an item, too."""
    kind = type(item)
    if kind is LongText:
        return _is_string(item.text)
    if kind is Link:
        return is_usable(item.uri)
    return _is_item(item) and (kind is not Embedded or is_usable(item.resource.uri))


def _are_contents(contents: Contents) -> bool:
    """Return whether there is a text, or something in base64."""
    text, blob = contents.text, contents.blob
    return _is_string(text) or is_base64(blob)


def _is_string(raw: Raw) -> bool:
    view = memoryview(raw)
    return len(view) > 0 and view[0] == _QUOTE


def is_base64(raw: Raw) -> bool:
    """Return whether a JSON value is a string in base64 (RFC 4648 section 4), as far as can be told cheaply."""
    data = bytes(raw)
    if data[:1] != b'"':
        return False
    if len(data) > CHECKED and len(data) % 4 == 2 and not (b":" in data or b"-" in data or b"_" in data):
        data = data[: _END + 1] + data[-_END - 1 :]
    text = _BLANK.sub(b"", data[1:-1])
    return _BASE64.fullmatch(text) is not None and len(text.rstrip(b"=")) % 4 != 1


def encoded(data: bytes) -> str:
    """Return bytes in base64."""
    return binascii.b2a_base64(data, newline=False).decode()
