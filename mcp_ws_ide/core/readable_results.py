"""Whether clients can read the result of a call. Pure; knows nothing of messages.

The SDKs' clients validate a result as a whole: one content item without a type, or an image that is not base64, costs
them all items. This module only tells such results from the others, in the one decoding that the parser needs anyway;
:mod:`mcp_ws_ide.core.call_results` mends them. The members of all kinds of calls are checked at once, because the
parser does not know which request a response answers (MCP, server/tools, server/prompts, server/resources).
"""

from __future__ import annotations

import binascii
import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

SMALL: Final = 1 << 14
"""Results up to this size, in bytes, are decoded with their texts, which is faster than looking at each item."""
MAX_VALUES: Final = 100
"""Completions in one result (MCP, server/utilities/completion)."""
CHECKED: Final = 1 << 12
"""Bytes of base64 that are checked completely; of more, both ends and what usually goes wrong."""
_END: Final = 64
"""Characters of each end that are checked."""
_QUOTE: Final = ord('"')
_BLANK: Final = re.compile(rb"\s|\\[nrt]|\\(?=/)")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]*={0,2}", re.ASCII)


class Annotations(msgspec.Struct, gc=False):
    """Annotations of resources and content items."""

    audience: list[Literal["user", "assistant"]] | UnsetType = UNSET
    priority: Annotated[float, msgspec.Meta(ge=0, le=1)] | UnsetType = UNSET
    lastModified: Annotated[datetime, msgspec.Meta(tz=True)] | UnsetType = UNSET


class Icon(msgspec.Struct, gc=False):
    """An icon of a tool, prompt or resource."""

    src: str
    mimeType: str | UnsetType = UNSET
    sizes: list[str] | UnsetType = UNSET
    theme: Literal["light", "dark"] | UnsetType = UNSET


class AnyObject(msgspec.Struct, gc=False):
    """Any JSON object, of which nothing is decoded."""


class _Item(msgspec.Struct, gc=False, kw_only=True):
    annotations: Annotations | UnsetType = UNSET
    meta: AnyObject | UnsetType = msgspec.field(name="_meta", default=UNSET)


class Text(_Item, gc=False, kw_only=True):
    """A text. Without a union around it, msgspec would not insist on a tag."""

    type: Literal["text"]
    text: str


class LongText(_Item, gc=False, tag="text"):
    """A text that is not decoded."""

    text: Raw


class Image(_Item, gc=False, tag="image"):
    """An image in base64."""

    data: Raw
    mimeType: str


class Audio(_Item, gc=False, tag="audio"):
    """A sound in base64."""

    data: Raw
    mimeType: str


class Link(_Item, gc=False, kw_only=True, tag="resource_link"):
    """A resource that can be read."""

    uri: str
    name: str
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    mimeType: str | UnsetType = UNSET
    size: int | UnsetType = UNSET
    icons: list[Icon] | UnsetType = UNSET


class Contents(msgspec.Struct, gc=False):
    """The contents of a resource: text, or binary data in base64."""

    uri: str
    mimeType: str | UnsetType = UNSET
    text: Raw = Raw()
    blob: Raw = Raw()
    meta: AnyObject | UnsetType = msgspec.field(name="_meta", default=UNSET)


class Embedded(_Item, gc=False, tag="resource"):
    """A resource with its contents."""

    resource: Contents


Item = LongText | Image | Audio | Link | Embedded


class PromptMessage(msgspec.Struct, gc=False):
    """A message of a prompt."""

    role: Literal["user", "assistant"]
    content: Item


class _Completion(msgspec.Struct, gc=False):
    values: Annotated[list[str], msgspec.Meta(max_length=MAX_VALUES)]
    total: int | UnsetType = UNSET
    hasMore: bool | UnsetType = UNSET


class _AnyResult(msgspec.Struct, gc=False, kw_only=True):
    structuredContent: AnyObject | UnsetType = UNSET
    isError: bool | UnsetType = UNSET
    meta: AnyObject | UnsetType = msgspec.field(name="_meta", default=UNSET)
    description: str | UnsetType = UNSET
    completion: _Completion | UnsetType = UNSET


class _TextContents(msgspec.Struct, gc=False):
    uri: str
    text: str
    mimeType: str | UnsetType = UNSET
    meta: AnyObject | UnsetType = msgspec.field(name="_meta", default=UNSET)


class _TextMessage(msgspec.Struct, gc=False):
    role: Literal["user", "assistant"]
    content: Text


class _SmallResult(_AnyResult, gc=False, kw_only=True):
    """A result of nothing but texts: the usual one."""

    content: list[Text] | UnsetType = UNSET
    contents: list[_TextContents] | UnsetType = UNSET
    messages: list[_TextMessage] | UnsetType = UNSET


class _Result(_AnyResult, gc=False, kw_only=True):
    content: list[Item] | UnsetType = UNSET
    contents: list[Contents] | UnsetType = UNSET
    messages: list[PromptMessage] | UnsetType = UNSET


class _Offer(msgspec.Struct, gc=False):
    listChanged: bool | UnsetType = UNSET
    subscribe: bool | UnsetType = UNSET


class _ServerInfo(msgspec.Struct, gc=False):
    name: str
    version: str
    title: str | UnsetType = UNSET


class _Initialized(msgspec.Struct, gc=False):
    protocolVersion: str
    capabilities: dict[str, _Offer]
    serverInfo: _ServerInfo
    instructions: str | UnsetType = UNSET
    meta: AnyObject | UnsetType = msgspec.field(name="_meta", default=UNSET)


_decode_initialized = msgspec.json.Decoder(_Initialized).decode
_decode_small = msgspec.json.Decoder(_SmallResult).decode
_decode_any = msgspec.json.Decoder(_Result).decode
_decode_item = msgspec.json.Decoder(Item).decode
_decode_contents = msgspec.json.Decoder(Contents).decode
_decode_message = msgspec.json.Decoder(PromptMessage).decode
_decode_raw = msgspec.json.Decoder(Raw).decode


def is_readable(result: bytes) -> bool:
    """Return whether a result is one of a call, which clients can read, whichever call it answers.

    Args:
        result: a JSON object, UTF-8.

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
    return (
        _has_items(whole)
        and all(map(_is_item, whole.content or ()))
        and all(map(_are_contents, whole.contents or ()))
        and all(_is_item(message.content) for message in whole.messages or ())
    )


def _has_items(result: _SmallResult | _Result) -> bool:
    """Return whether a result has the member that one of a call must have."""
    return not (
        result.content is UNSET
        and result.contents is UNSET
        and result.messages is UNSET
        and result.completion is UNSET
    )


def is_handshake(result: bytes) -> bool:
    """Return whether clients can read the result of ``initialize``, a JSON object."""
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
