"""Mend content items, prompt messages and contents of resources that clients cannot read. Pure.

Each reader returns what to show in place of what a server wrote, and what was wrong with it. What means one thing is
mended, such as an image without a MIME type whose first bytes show it. Anything else becomes a text with its JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from msgspec import Raw

from mcp_ws_ide.core.lenient_json import encode, items_of, members_of, text_of, value_of
from mcp_ws_ide.core.list_items import mend_optional, optional_decoders
from mcp_ws_ide.core.readable_results import are_contents, encoded, is_base64, is_item, is_prompt_message
from mcp_ws_ide.core.result_types import Contents, Embedded, Image, Link, Text
from mcp_ws_ide.core.shown_uris import FAULT, shown_item

TEXT: Final = "text"
NO_URI: Final = "about:blank"
"""The URI shown for contents without one, which clients insist on (RFC 6694)."""
UNKNOWN_MEDIA: Final = "application/octet-stream"
MAX_SHOWN: Final = 1000
"""Characters of a string without blanks, as binary data are, that the JSON of an item shows."""
_SHOWN_HEAD: Final = 60
_MEDIA_NAMES: Final = ("mimeType", "mime_type", "mimetype", "mediaType", "media_type", "contentType")
"""Names under which servers write the MIME type."""
_DATA_NAMES: Final = ("data", "blob", "base64")
_DATA_URL: Final = re.compile(r"data:([^;,]*)[^,]*;base64,(.*)\Z", re.DOTALL)
_URL_SAFE: Final = str.maketrans("-_", "+/")
_SIGNATURES: Final = (
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("PHN2Zy", "image/svg+xml"),
    ("Qk0", "image/bmp"),
    ("T2dnUw", "audio/ogg"),
    ("SUQz", "audio/mpeg"),
    ("ZkxhQw", "audio/flac"),
)
"""How the formats begin, in base64."""
_RIFF: Final = (("UklGR", "V0VCUF", "image/webp"), ("UklGR", "XQVZF", "audio/wav"))
_ROLES: Final = ("user", "assistant")

_Members = dict[str, Raw]
_Mend = Callable[[_Members, list[str]], "_Members | None"]
"""Mends the members of an item, and adds what was wrong; None if it cannot."""


def text_item(text: str) -> Raw:
    """Return a content item with a text."""
    return Raw(encode({"type": TEXT, TEXT: text}))


def as_text(item: bytes) -> Raw:
    """Return a content item with the JSON of another, of which long binary strings are cut."""
    return text_item(encode(_shortened(value_of(item))).decode())


def _shortened(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MAX_SHOWN and not (" " in value or "\n" in value):
        return f"{value[:_SHOWN_HEAD]}… ({len(value)} characters)"
    if isinstance(value, dict):
        return {name: _shortened(member) for name, member in value.items()}
    return [_shortened(item) for item in value] if isinstance(value, list) else value


# --- content items --------------------------------------------------------------------------------


def read_item(given: bytes) -> tuple[list[Raw], str]:
    """Return the content items to show in place of one, and what was wrong with it; ``""`` for nothing."""
    if is_item(given):
        return [Raw(given)], ""
    if given == b"null":
        return [], "omitted, because it is null"
    if given[:1] == b'"':
        return [text_item(text_of(given))], "a string was read as a text item"
    nested = items_of(given)
    if nested and all(bytes(raw)[:1] == b"{" for raw in nested):
        return [
            one for raw in nested for one in read_item(bytes(raw))[0]
        ], "a nested array was read as its items"
    members = members_of(given)
    if not members:
        return [as_text(given)], "it is shown as text, because it is not an object with members"
    faults: list[str] = []
    mended = _mended_item(members, faults)
    if mended is not None and is_item(mended):
        return [Raw(mended)], "; ".join(faults) or "members that are null were ignored"
    return [as_text(given)], "it is shown as text, because clients could not read it"


def read_shown_item(given: bytes) -> tuple[list[Raw], str]:
    """As :func:`read_item`, with URIs as clients of the handshake era see them."""
    items, fault = read_item(given)
    shown_ones = [shown_item(item) for item in items]
    return shown_ones, _with_uri_fault(fault) if shown_ones != items else fault


def _with_uri_fault(fault: str) -> str:
    return f"{fault}; {FAULT}" if fault else FAULT


def _mended_item(members: _Members, faults: list[str]) -> bytes | None:
    """Return an item as clients can read it; None if it does not mean one thing."""
    for name in [name for name, raw in members.items() if bytes(raw) == b"null"]:
        del members[name]
    kind = _kind_of(members)
    if kind not in _MENDERS:
        return None
    if text_of(bytes(members.get("type", b""))) != kind:
        members["type"] = Raw(encode(kind))
        faults.append(f"its type was completed to {kind!r}")
    mended = _MENDERS[kind](members, faults)
    if mended is None:
        return None
    faults += mend_optional(mended, _OPTIONAL[text_of(bytes(mended["type"]))])
    return encode(mended)


def _kind_of(members: _Members) -> str:
    """Return the type of an item: the one that it names, or that its other members show; ``""`` for none."""
    named = text_of(bytes(members.get("type", b""))).strip().lower()
    if named in _MENDERS:
        return named
    if bytes(members.get("resource", b""))[:1] == b"{" or (
        "uri" in members and members.keys() & {TEXT, "blob"}
    ):
        return "resource"
    if bytes(members.get(TEXT, b""))[:1] == b'"':
        return TEXT
    if any(name in members for name in _DATA_NAMES):
        media = (_media_type(members) or _encoded_data(members)[1]).partition("/")[0]
        return media if media in ("image", "audio") else ""
    return "resource_link" if "uri" in members and "name" in members else ""


def _mend_text(members: _Members, faults: list[str]) -> _Members | None:
    text = bytes(members.get(TEXT, b""))
    if text[:1] == b'"':
        return members
    if not text and members.keys() - {"type", "annotations", "_meta"}:
        return None
    members[TEXT] = Raw(encode(text.decode()))
    faults.append("its text is missing" if not text else "its text became a string")
    return members


def _mend_media(members: _Members, faults: list[str]) -> _Members | None:
    """Mend an image or a sound: its data become base64, and its MIME type is completed."""
    data, media = _encoded_data(members)
    if not data or not is_base64(Raw(encode(data))):
        return None
    if data != text_of(bytes(members.get("data", b""))):
        members["data"] = Raw(encode(data))
        faults.append("its data was converted to base64")
    if bytes(members.get("mimeType", b""))[:1] != b'"':
        members["mimeType"] = Raw(encode(_media_type(members) or media or UNKNOWN_MEDIA))
        faults.append("its mimeType was completed")
    return members


def _media_type(members: _Members) -> str:
    return next((text for name in _MEDIA_NAMES if (text := text_of(bytes(members.get(name, b""))))), "")


def _encoded_data(members: _Members) -> tuple[str, str]:
    """Return the data of an image or a sound in base64, and the MIME type that they show; both ``""`` if unknown."""
    given = next((value for name in _DATA_NAMES if (value := value_of(bytes(members.get(name, b""))))), None)
    if isinstance(given, dict):  # a buffer, as Node.js writes it
        given = given.get("data")
    if isinstance(given, list):
        try:
            given = encoded(bytes(given))
        except (TypeError, ValueError):
            return "", ""
    if not isinstance(given, str):
        return "", ""
    url = _DATA_URL.match(given.strip())
    media, data = (url[1], url[2]) if url else ("", given)
    if not url and not is_base64(Raw(encode(data))):
        data = data.strip().translate(_URL_SAFE)
    return data, media or _shown_media(data)


def _shown_media(data: str) -> str:
    """Return the MIME type of data in base64, by their first bytes."""
    for start, media in _SIGNATURES:
        if data.startswith(start):
            return media
    return next((media for start, inner, media in _RIFF if data.startswith(start) and inner in data[:24]), "")


def _mend_embedded(members: _Members, faults: list[str]) -> _Members | None:
    inner = members_of(bytes(members.get("resource", b"")))
    if not inner:
        inner = {name: members.pop(name) for name in ("uri", TEXT, "blob", "mimeType") if name in members}
        faults.append("its members were read as those of its resource")
    if inner.keys().isdisjoint({TEXT, "blob"}):  # nothing but the address of what could be read
        link = {**{name: raw for name, raw in members.items() if name != "resource"}, **inner}
        faults.append("it was read as a link, because it has no contents")
        return _mend_link({**link, "type": Raw(b'"resource_link"')}, faults)
    return {**members, "resource": Raw(encode(_mended_contents(inner, faults)))}


def _mend_link(members: _Members, faults: list[str]) -> _Members | None:
    if not text_of(bytes(members.get("uri", b""))):
        return None
    if bytes(members.get("name", b""))[:1] != b'"':
        members["name"] = members.get("title", members["uri"])
        faults.append("it has no name, its title or URI is shown")
    return members


_MENDERS: Final[dict[str, _Mend]] = {
    TEXT: _mend_text,
    "image": _mend_media,
    "audio": _mend_media,
    "resource": _mend_embedded,
    "resource_link": _mend_link,
}


# --- contents of resources ------------------------------------------------------------------------


def read_contents(given: bytes) -> tuple[list[Raw], str]:
    """Return the contents to show in place of one item of ``resources/read``, and what was wrong with it."""
    if are_contents(given):
        return [Raw(given)], ""
    if given == b"null":
        return [], "omitted, because it is null"
    faults: list[str] = []
    members = members_of(given)
    if text_of(bytes(members.get("type", b""))) == "resource" and "resource" in members:
        members = members_of(bytes(members["resource"]))
        faults.append("its resource is shown")
    if not members:
        members = {TEXT: _as_string(given)}
        faults.append("it was read as a text item")
    mended = _mended_contents(members, faults)
    return [Raw(encode(mended))], "; ".join(faults) or "members that are null were ignored"


def _as_string(raw: bytes) -> Raw:
    """Return a JSON value as a JSON string: itself, or its text."""
    return Raw(raw if raw[:1] == b'"' else encode(raw.decode()))


def _mended_contents(members: _Members, faults: list[str]) -> _Members:
    """Return contents as clients can read them: whatever there is becomes a text."""
    rest = {name: raw for name, raw in members.items() if bytes(raw) != b"null"}
    if not text_of(bytes(rest.get("uri", b""))):
        rest["uri"] = Raw(encode(NO_URI))
        faults.append(f"it has no URI, {NO_URI} is shown")
    media = _media_type(rest)
    if media and bytes(rest.get("mimeType", b""))[:1] != b'"':
        rest["mimeType"] = Raw(encode(media))
        faults.append("its mimeType was completed")
    if TEXT in rest or "blob" not in rest:
        _mend_contained_text(rest, faults)
    else:
        _mend_blob(rest, faults)
    faults += mend_optional(rest, _OPTIONAL["contents"])
    return rest


def _mend_contained_text(contents: _Members, faults: list[str]) -> None:
    text = bytes(contents.get(TEXT, b""))
    if text[:1] == b'"':
        return
    if not text:
        shown = {name: raw for name, raw in contents.items() if name not in ("uri", "mimeType", "_meta")}
        text = encode(shown) if shown else b'""'
        faults.append("it has no text, its other members are shown" if shown else "it has no text")
    else:
        faults.append("its text became a string")
    contents[TEXT] = _as_string(text)


def _mend_blob(contents: _Members, faults: list[str]) -> None:
    data, media = _encoded_data({"blob": contents["blob"]})
    if is_base64(Raw(encode(data))) and (data or contents["blob"] == Raw(b'""')):
        if data != text_of(bytes(contents["blob"])):
            contents["blob"] = Raw(encode(data))
            faults.append("its blob was converted to base64")
            if media:
                contents.setdefault("mimeType", Raw(encode(media)))
        return
    contents[TEXT] = _as_string(bytes(contents.pop("blob")))
    faults.append("its blob was read as text, because it is not base64")


# --- messages of prompts --------------------------------------------------------------------------


def read_prompt_message(given: bytes) -> tuple[list[Raw], str]:
    """Return the messages to show in place of one of a prompt, and what was wrong with it.

    A message has one content item: one with several becomes several messages.
    """
    if is_prompt_message(given):
        return [Raw(given)], ""
    if given == b"null":
        return [], "omitted, because it is null"
    members = members_of(given)
    faults: list[str] = []
    role = text_of(bytes(members.get("role", b"")))
    if role not in _ROLES:
        role = _ROLES[0]
        faults.append("its role was read as user")
    content = bytes(members.get("content", b""))
    if not content:
        content = given
        faults.append("it has no content, it is shown itself")
    several = content[:1] == b"["
    items: list[Raw] = []
    for raw in items_of(content) if several else [Raw(content)]:
        shown, fault = read_item(bytes(raw))
        items += shown
        faults += [fault] if fault and fault not in faults else []
    if several:
        faults.append("each item of its content became a message")
    rest = {
        name: raw for name, raw in members.items() if name not in ("role", "content") and content != given
    }
    return [Raw(encode({**rest, "role": role, "content": item})) for item in items], "; ".join(faults)


def read_shown_message(given: bytes) -> tuple[list[Raw], str]:
    """As :func:`read_prompt_message`, with URIs as clients of the handshake era see them."""
    written, fault = read_prompt_message(given)
    prompts = []
    for message in written:
        members = members_of(bytes(message))
        item = shown_item(members["content"])
        prompts.append(message if item is members["content"] else Raw(encode({**members, "content": item})))
    return prompts, _with_uri_fault(fault) if prompts != written else fault


_OPTIONAL: Final = {
    TEXT: optional_decoders(Text),
    "image": optional_decoders(Image),
    "audio": optional_decoders(Image),
    "resource": optional_decoders(Embedded),
    "resource_link": optional_decoders(Link),
    "contents": {n: d for n, d in optional_decoders(Contents).items() if n not in (TEXT, "blob")},
}
"""The decoders of the optional members, by the type of an item."""
