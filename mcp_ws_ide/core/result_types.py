"""The results of calls as msgspec decodes them, for :mod:`.readable_results`; what has another form is refused.

Kept apart from that module, which mypyc compiles: msgspec decodes only into classes that are not compiled
(docs/contribute/compiled.md). The members of all kinds of calls are in one result, because the parser does not know
which request a response answers (MCP, server/tools, server/prompts, server/resources). Knows nothing of messages.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

MAX_VALUES: Final = 100
"""Completions in one result (MCP, server/utilities/completion)."""


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


class SmallResult(_AnyResult, gc=False, kw_only=True):
    """A result of nothing but texts: the usual one."""

    content: list[Text] | UnsetType = UNSET
    contents: list[_TextContents] | UnsetType = UNSET
    messages: list[_TextMessage] | UnsetType = UNSET


class Result(_AnyResult, gc=False, kw_only=True):
    """A result of any items."""

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


class Initialized(msgspec.Struct, gc=False):
    """The result of ``initialize``."""

    protocolVersion: str
    capabilities: dict[str, _Offer]
    serverInfo: _ServerInfo
    instructions: str | UnsetType = UNSET
    meta: AnyObject | UnsetType = msgspec.field(name="_meta", default=UNSET)
