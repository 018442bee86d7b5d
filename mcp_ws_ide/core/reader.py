"""Read what a peer wrote where it is not exactly one canonical JSON-RPC message (docs/reference/reading.md). Pure.

:func:`mcp_ws_ide.core.messages.parse` comes first; this is for what it refuses. What has one meaning is mended, with a
notice of what was mended. Everything else is an :class:`Unreadable`, with what can be told of it: whether it may be an
answer, to which request, and why it cannot be read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

import msgspec
from msgspec import Raw

from mcp_ws_ide.core import json_scan, messages
from mcp_ws_ide.core.lenient_json import encode, members_of
from mcp_ws_ide.core.messages import MAX_ID_BYTES, RESPONSE, Message
from mcp_ws_ide.errors import INTERNAL_ERROR, INVALID_REQUEST, PARSE_ERROR, MalformedMessageError

MAX_ITEMS: Final = 1000
"""Messages that are read from one line, event or array; what follows is reported."""
MAX_SEARCHED: Final = 4 << 20
"""Bytes after which a line, event or array is searched no more for what can be mended: many broken values would each
cost a search of all that follows, which takes up to 0.6 s for this many."""
QUOTE: Final = 60
"""Characters quoted on either side of the place where a message cannot be read."""

_MESSAGE_START: Final = b'{"jsonrpc"'
_ENCODINGS: Final = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"{\x00\x00\x00", "utf-32-le"),
    (b"\x00\x00\x00{", "utf-32-be"),
    (b"{\x00", "utf-16-le"),
    (b"\x00{\x00", "utf-16-be"),
)
"""How a message in another encoding begins: a byte order mark, or a brace in its width (RFC 4627 section 3)."""
_ONE_LINE: Final = "several messages, or text and a message, on one line were separated"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_BLANKS: Final = b" \t\r\n\x00"
_ANSWERS: Final = frozenset({b"result", b"error"})
_OF_LOGS: Final = frozenset(
    {b"level", b"lvl", b"severity", b"levelname", b"loglevel", b"@timestamp", b"logger"}
)
"""Members of log records, at least one of which each JSON formatter writes."""
_RESULTS: Final = {
    "content": ("isError", "structuredContent"),
    "contents": (),
    "messages": ("description",),
    "tools": ("nextCursor", "ttlMs", "cacheScope"),
    "prompts": ("nextCursor", "ttlMs", "cacheScope"),
    "resources": ("nextCursor", "ttlMs", "cacheScope"),
    "resourceTemplates": ("nextCursor", "ttlMs", "cacheScope"),
    "capabilities": ("protocolVersion", "supportedVersions", "serverInfo", "instructions"),
    "inputRequests": ("requestState",),
}
"""The members of the results of MCP: one that each has, a list of objects or an object, and those beside it."""
_ID: Final = re.compile(rb'"id"\s*:\s*(-?\d+|"[^"\\]*")')

_OF_MESSAGES: Final = re.compile(
    rb"(?i)jsonrpc|\b(?:id|method|result|error|%b)[\"']?\s*:|\\u" % "|".join(_RESULTS).encode()
)
"""What a message, or the result of one, has."""
_QUOTED_NAME: Final = re.compile(
    rb"\"(?i:jsonrpc|id|method|result|error|%b)\"\s*:" % "|".join(_RESULTS).encode()
)
"""The same in records that are JSON; found quickly."""

_WHOLE: Final = re.compile(rb'"?(-?\d{1,15})(?:\.0+)?"?')

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


class Unreadable(msgspec.Struct, gc=False):
    """A message that cannot be read.

    Attributes:
        code: JSON-RPC error code to answer with.
        reason: why; names the byte and the JSON path where there are such, and quotes the text around.
        ids: what it gives as its id, as JSON; several if it has several, none if none can be told.
        answer: whether it may be the response to a request.
        certain: whether the ids stand before the place where it cannot be read, so that they are surely its own.
        doubtful: whether it may as well be a line of a log.
    """

    code: int
    reason: str
    ids: list[bytes]
    answer: bool
    certain: bool
    doubtful: bool = False


@dataclass(slots=True)
class Reading:
    """What was read.

    Attributes:
        messages: in the order in which they were written.
        unreadable: what looks like messages and cannot be read.
        noise: text between messages.
        notices: what was mended: a text for each kind.
        exact: whether no value may be changed, and a request may follow text.
        searched: bytes that were searched for what can be mended.
    """

    messages: list[Message] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    noise: list[bytes] = field(default_factory=list)
    notices: dict[str, str] = field(default_factory=dict)
    exact: bool = False
    searched: int = 0


class ReportedKinds:
    """The kinds of what was mended in one peer's messages, each of which is reported once."""

    __slots__ = ("_kinds",)

    def __init__(self) -> None:
        self._kinds: tuple[str, ...] = ()

    def add(self, notices: dict[str, str]) -> list[str]:
        """Return the texts, of the notices of one reading, that are to be reported: those of new kinds."""
        texts = [text for kind, text in notices.items() if kind not in self._kinds]
        self._kinds += tuple(kind for kind in notices if kind not in self._kinds)
        return texts


def read_server(data: bytes) -> Reading:
    """Read what a server wrote: a line, a body, an event or a frame."""
    reading = Reading()
    _read_all(_as_utf8(data, reading), reading, 0)
    return reading


def read_client(data: bytes) -> Reading:
    """Read one message from a client, which can send it again: nothing is guessed, and no argument is changed."""
    reading = Reading()
    text = _as_utf8(data, reading).strip(_BLANKS)
    if "utf-8" in reading.notices:
        del reading.notices["utf-8"]
        reading.unreadable.append(_unreadable(text, PARSE_ERROR, "the message is not valid UTF-8", 0))
        return reading
    try:
        reading.messages.append(messages.parse(text))
    except MalformedMessageError as error:
        message = _mended(text, reading, by_server=False) if error.code == INVALID_REQUEST else None
        if message is not None:
            reading.messages.append(message)
        else:
            reading.unreadable.append(_refused(text, error))
    return reading


def read_client_line(data: bytes) -> Reading:
    """Read what a client wrote on a line: also several messages, or text around them. No value is changed."""
    reading = Reading(exact=True)
    text = _as_utf8(data, reading)
    if "utf-8" in reading.notices:
        return read_client(data)
    _read_all(text, reading, 0)
    return reading


def may_be_message(text: bytes) -> bool:
    """Return whether a text that does not simply begin with a brace may contain a message."""
    if text.startswith(_BYTE_ORDER_MARK) or (text[:1] == b"[" and text[1:].lstrip()[:1] == b"{"):
        return True
    return b"jsonrpc" in text or (b'"id"' in text and any(b'"%b"' % name in text for name in _ANSWERS))


def are_log_records(text: bytes, start: int, end: int) -> bool:
    """Return whether the lines from ``start`` to ``end``, each in braces or plain text, surely have no message."""
    return _QUOTED_NAME.search(text, start, end) is None and text.find(b"\\u", start, end) < 0


def is_log_record(text: bytes) -> bool:
    """Return whether a text that begins with a brace surely is neither a message nor a result, without a long look."""
    if _OF_MESSAGES.search(text) is not None:
        return False
    return not text.startswith(b'{"') or json_scan.is_whole(text)


def cut_answer(head: bytes, tail: bytes) -> bytes:
    """Return the id, as JSON, of a response of which only both ends are known.

    ``null`` if they do not show it, ``b""`` if it is not a response.
    """
    raw_id = messages.answered_id(head, tail)
    if raw_id:
        return raw_id
    names = json_scan.top_of(head).names
    answers = b"method" not in names and not names.isdisjoint({b"jsonrpc", *_ANSWERS})
    return b"null" if answers and tail.rstrip().endswith(b"}") else b""


# --- encodings ------------------------------------------------------------------------------------


def encoding_of(data: bytes) -> str:
    """Return the encoding that a text begins like, if that is not UTF-8; else ``""``."""
    return next((encoding for start, encoding in _ENCODINGS if data.startswith(start)), "")


def line_as_utf8(line: bytes) -> bytes:
    """Return a line in UTF-8 that a server wrote in UTF-16, among others, and that was split at the byte of a LF.

    The rest of a little-endian LF then begins the next line; in UTF-32, such a line reads like one in big-endian.
    """
    for rest in (b"\0", b"\0\0\0"):
        if line.startswith(rest) and b"\0" not in line[len(rest) : len(rest) + 2]:
            line = line[len(rest) :]
    encoding = encoding_of(line)
    if not encoding.startswith(("utf-16", "utf-32")):
        return line
    width = 2 if encoding.startswith("utf-16") else 4
    return line[: len(line) // width * width].decode(encoding, errors="replace").encode(errors="replace")


def on_one_line(data: bytes) -> bytes:
    """Return ``data`` without raw line breaks, see :func:`mcp_ws_ide.core.messages.one_line`, if it is UTF-8."""
    return data if encoding_of(data) else messages.one_line(data.strip())


def _as_utf8(data: bytes, reading: Reading) -> bytes:
    """Return ``data`` as valid UTF-8 without a byte order mark."""
    encoding = encoding_of(data)
    if encoding:
        reading.notices[encoding] = f"a message in {encoding} instead of UTF-8 was converted"
        data = _whole_units(data, encoding).decode(encoding, errors="replace").encode(errors="replace")
    stripped = data.lstrip(_BLANKS)
    if stripped.startswith(_BYTE_ORDER_MARK):
        reading.notices["byte order mark"] = "a byte order mark before a message was skipped"
        data = stripped.removeprefix(_BYTE_ORDER_MARK)
    try:
        data.decode()
    except UnicodeDecodeError as error:
        where = _place(data, error.start)
        text = f"bytes that are not UTF-8 were replaced by U+FFFD ({where})"
        reading.notices["utf-8"] = text
        return data.decode(errors="replace").encode()
    return data


def _whole_units(data: bytes, encoding: str) -> bytes:
    """Return ``data`` without half a character at its end, which is left when a line is split at the byte of LF."""
    odd = len(data) % (4 if encoding.startswith("utf-32") else 2)
    return data[: len(data) - odd] if odd and not any(data[-odd:]) else data


# --- values ---------------------------------------------------------------------------------------


def _read_all(text: bytes, reading: Reading, depth: int) -> None:
    """Read one value after another. After text, only answers: a log may quote what the server was sent."""
    text = text.strip(_BLANKS)
    if text[:1] not in (b"{", b"[") and not reading.exact:
        noted, reading = reading, Reading(notices=reading.notices, searched=reading.searched)
        _read_each(text, reading, depth)
        noted.searched = reading.searched
        answers = [message for message in reading.messages if message.kind is RESPONSE]
        noted.messages += answers
        noted.unreadable += reading.unreadable
        noted.noise += reading.noise + [m.data for m in reading.messages if m.kind is not RESPONSE]
    else:
        _read_each(text, reading, depth)


def _read_each(text: bytes, reading: Reading, depth: int) -> None:
    at = 0
    for _ in range(MAX_ITEMS):
        at = json_scan.after_blanks(text, at)
        if at == len(text):
            return
        text, at = _read_first(text, at, reading, depth)
    if json_scan.after_blanks(text, at) < len(text):
        reading.noise.append(text[at:])


def _read_first(text: bytes, at: int, reading: Reading, depth: int) -> tuple[bytes, int]:
    """Read the value at ``at``; return the text, which may have been mended, and where the rest of it begins."""
    if text[at : at + 1] not in b"{[":
        return _skip_text(text, at, reading)
    try:
        end = json_scan.end_of_value(text, at)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        mended = None if reading.exact else _mended_text(text, at, reading)
        if mended is None:
            return _read_broken(text, at, error, reading, depth)
        at, (text, end) = 0, mended
    value = text[at:end]
    if value[:1] == b"[":
        _read_array(value, reading, depth)
    else:
        _read_object(value.rstrip(_BLANKS), reading)
    if json_scan.after_blanks(text, end) < len(text):
        reading.notices["one line"] = _ONE_LINE
    return text, end


def _skip_text(text: bytes, at: int, reading: Reading) -> tuple[bytes, int]:
    """Take the text before a message as noise; return the text to read on, and where."""
    if inner := _in_string(text, at):
        reading.notices["string"] = "a message inside a JSON string was read"
        return inner, 0
    start = text.find(_MESSAGE_START, at)
    if start >= 0:
        reading.noise.append(text[at:start])
        reading.notices["one line"] = _ONE_LINE
        return text, start
    text = text[at:]
    if may_be_message(text) and b'"method"' not in text:  # a response without its beginning
        found = _ID.findall(text)
        ids = [found[0]] if len(set(found)) == 1 else []
        reason = f"not valid JSON: it does not begin with {{: {quote(text, 0)}"
        reading.unreadable.append(Unreadable(PARSE_ERROR, reason, ids, answer=True, certain=False))
    else:
        reading.noise.append(text)
    return b"", 0


def _in_string(text: bytes, at: int) -> bytes:
    """Return the message in a JSON string that is all the rest, as servers write that encode it twice, or ``b""``."""
    if text[at : at + 1] != b'"' or text.find(b"jsonrpc", at) < 0:
        return b""
    try:
        if json_scan.end_of_value(text, at) < len(text):
            return b""
    except msgspec.DecodeError:
        return b""
    inner = (messages.text_in(text[at:]) or "").strip().encode(errors="replace")
    return inner if inner[:1] in (b"{", b"[") and json_scan.is_whole(inner) else b""


def _mended_text(text: bytes, at: int, reading: Reading) -> tuple[bytes, int] | None:
    """Return the text from ``at``, and where its first value ends, if it lacks only what can be mended for sure."""
    if reading.searched > MAX_SEARCHED:
        return None
    text = text[at:]
    reading.searched += len(text)
    mended, numbers = json_scan.without_non_finite(text)
    strings: list[int] = []
    if json_scan.has_controls(mended):
        mended, strings = json_scan.without_controls(mended)
    if not numbers and not strings:
        return None
    try:
        end = json_scan.end_of_value(mended)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if numbers:
        places = f"{len(numbers)} numbers, the first" if len(numbers) > 1 else "it is"
        what = f"NaN or Infinity became null ({places} at {_place(text, numbers[0])})"
        reading.notices["NaN"] = what
    if strings:
        where = _place(mended, strings[0])
        reading.notices["control characters"] = f"raw control characters in a string were escaped ({where})"
    return mended, end


def _read_broken(text: bytes, at: int, error: Exception, reading: Reading, depth: int) -> tuple[bytes, int]:
    """Take what begins like a message at ``at`` and is none; return the text to read on, and where."""
    if text[at : at + 1] == b"[":
        item = json_scan.after_blanks(text, at + 1)
        if not depth and text[item : item + 1] == b"{":
            _read_array(text[at:], reading, depth)
            return b"", 0
        return _skip_text(text, at, reading)
    text = text[at:]
    start = text.rfind(_MESSAGE_START)
    rest = text[start:] if start > 0 and json_scan.is_whole(text[start:]) else b""
    broken = text[: len(text) - len(rest)]
    offset = messages.offset_of(error)
    end = len(broken) if offset is None else offset
    fault = _unreadable(broken, PARSE_ERROR, _not_json(broken, error), end, broken=True)
    if fault.ids or fault.answer or b"jsonrpc" in broken:
        reading.unreadable.append(fault)
    else:
        reading.noise.append(broken)
    return rest, 0


def _read_array(value: bytes, reading: Reading, depth: int) -> None:
    """Read each item of a batch, or of one that is alone in an array."""
    items = list(json_scan.items_of(value, MAX_ITEMS + 1))
    if not depth and len(items) == 1 and items[0][:1] == b"[":
        items = list(json_scan.items_of(items[0], MAX_ITEMS + 1))
    if depth or not any(item[:1] == b"{" for item in items):
        reading.noise.append(value)
        return
    if len(items) > MAX_ITEMS:
        reading.notices["array limit"] = f"an array has more than {MAX_ITEMS} messages; the rest was dropped"
    before = len(reading.messages) + len(reading.unreadable)
    for item in items[:MAX_ITEMS]:
        _read_all(item, reading, depth + 1)
    if len(reading.messages) + len(reading.unreadable) > before:
        reading.notices["array"] = "messages in an array were read one by one"


def _read_object(value: bytes, reading: Reading) -> None:
    value = messages.one_line(value)
    try:
        reading.messages.append(messages.parse_server(value))
    except MalformedMessageError as error:
        message = _mended(value, reading, by_server=True)
        if message is not None:
            reading.messages.append(message)
            return
        fault = _refused(value, error)
        if not fault.answer and not reading.exact and b"jsonrpc" not in value and _is_bare_answer(value):
            fault.answer = fault.doubtful = True
        if fault.answer or b"jsonrpc" in value or reading.exact:
            reading.unreadable.append(fault)
        else:
            reading.noise.append(value)


# --- members --------------------------------------------------------------------------------------


def _mended(value: bytes, reading: Reading, *, by_server: bool) -> Message | None:
    """Return the message that an object means, if its members need only what can be mended without doubt."""
    try:
        messages.refuse_many(value)
        mended, notices = _mend_members(_decode_members(value), by_server=by_server)
        if not notices:
            return None
        if len(json_scan.top_of(value).ids) > 1:
            return None
        message = messages.parse_server(_encode(mended))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, MalformedMessageError):
        return None
    reading.notices.update(notices)
    return message


def _mend_members(members: dict[str, Raw], *, by_server: bool) -> tuple[dict[str, Raw], dict[str, str]]:
    """Return the members without what means nothing, and a notice of each kind of change."""
    notices = {}
    if by_server and _is_answer_in_another_case(members):
        members = {name.lower(): raw for name, raw in members.items()}
        notices["case"] = "a response whose members are in another case than in JSON-RPC was read"
    values = {name: bytes(raw) for name, raw in members.items()}
    null = {name for name, value in values.items() if value == b"null"}
    answers = "result" in members or "error" in members
    surplus = _surplus_nulls(values, null)
    for name in surplus:
        del members[name]
    if surplus:
        notices["null members"] = f"members that are null were ignored ({', '.join(sorted(surplus))})"
    if by_server and _is_echo(members):
        members = {name: raw for name, raw in members.items() if name not in ("method", "params")}
        notices["echo"] = "a response that repeats the method of its request was read as the response"
    logged = "jsonrpc" not in members and not _OF_LOGS.isdisjoint(name.encode() for name in members)
    unversioned = values.get("jsonrpc") != b'"2.0"' and "method" not in members
    if answers and "id" in members and unversioned and not logged:
        members = {
            "jsonrpc": Raw(b'"2.0"'),
            **{name: raw for name, raw in members.items() if name != "jsonrpc"},
        }
        notices["jsonrpc"] = 'a response without "jsonrpc": "2.0" was read as if it had it'
    error = bytes(members.get("error", b""))
    if error and error != b"null" and "result" not in members and (mended := _usable_error(error)):
        members["error"] = Raw(mended)
        notices["error"] = "an error without a whole number as code and a string as message was completed"
    if values.get("result") == b"null" and "error" not in members and "method" not in members:
        members["result"] = Raw(b"{}")
        notices["null result"] = "a null result was read as {}"
    return members, notices


def _is_answer_in_another_case(members: dict[str, Raw]) -> bool:
    """Return whether a message is a response but for the case of its members, as ``JsonRpc``, ``Id`` and ``Result``."""
    names = {name.lower() for name in members}
    known = names <= {"jsonrpc", "id", "result", "error"} and len(names) == len(members)
    return known and {"jsonrpc", "id"} < names and not names <= members.keys()


def _is_echo(members: dict[str, Raw]) -> bool:
    """Return whether a message is a response that a server wrote into a copy of the request."""
    answered = ("result" in members) + ("error" in members) == 1
    return answered and "method" in members and bytes(members.get("id", b"null")) != b"null"


def _usable_error(error: bytes) -> bytes:
    """Return an error as an object with code and message, as JSON; ``b""`` if it is one already."""
    given = members_of(error) if error[:1] == b"{" else {}
    code, message = bytes(given.get("code", b"")), bytes(given.get("message", b""))
    number = _whole_number(code)
    if number is not None and b"%d" % number == code and message[:1] == b'"':
        return b""
    made = {
        "code": INTERNAL_ERROR if number is None else number,
        "message": messages.text_in(message or b"null") or _text_of(error),
    }
    return encode({**given, **made} if given else {**made, "data": Raw(error)})


def _whole_number(raw: bytes) -> int | None:
    """Return a number, also one that was written as text; None for anything else."""
    found = _WHOLE.fullmatch(raw)
    return int(found[1]) if found is not None else None


def _surplus_nulls(values: dict[str, bytes], null: set[str]) -> set[str]:
    """Return the members that are null and mean nothing."""
    surplus = null & {"params", "method"}
    if "method" in values and "method" not in null:
        surplus |= null & {"result", "error"}
        if values["method"].startswith(b'"notifications/'):
            surplus |= null & {"id"}
    elif "result" in values and "error" in values:
        surplus |= {"error"} if "error" in null else null & {"result"}
    return surplus


def _is_bare_answer(value: bytes) -> bool:
    """Return whether an object without an id is a result or an error of MCP, alone or as the only member."""
    members = {name: bytes(raw) for name, raw in members_of(value).items()}
    names = members.keys() - {"_meta", "id", "resultType"}
    if names == {"result"}:
        return members["result"][:1] == b"{"
    if names == {"error"}:
        return not _usable_error(members["error"])
    for name, others in _RESULTS.items():
        if name in names and names <= {name, *others}:
            start = members[name][:1]
            return start == b"{" or (start == b"[" and members[name][1:].lstrip()[:1] in (b"{", b"]"))
    return False


def _text_of(raw: bytes) -> str:
    return messages.text_in(raw) or raw.decode(errors="replace")[:QUOTE]


# --- what cannot be read --------------------------------------------------------------------------


def _unreadable(text: bytes, code: int, reason: str, at: int, *, broken: bool = False) -> Unreadable:
    """Describe a message that is as it should be before byte ``at``; ``broken`` says that it is not JSON."""
    top = json_scan.top_of(text)
    answers = not top.names.isdisjoint(_ANSWERS)
    named = answers and bool(top.ids) and _OF_LOGS.isdisjoint(top.names)
    may_answer = b"jsonrpc" in text or named or (broken and _names_members(text, top.names))
    may_answer = may_answer and (answers or b"method" not in top.names)
    ids = [] if any(len(raw_id) > MAX_ID_BYTES for raw_id in top.ids) else top.ids
    return Unreadable(code, reason, ids, may_answer, certain=top.ids_end <= at)


def _names_members(text: bytes, names: set[bytes]) -> bool:
    """Return whether all names of a text, of which the last may be cut, are those of a response."""
    if not text.startswith(b'{"') or not names:
        return False
    return all(any(member.startswith(name) for member in (b"jsonrpc", b"id", *_ANSWERS)) for name in names)


def _refused(text: bytes, error: MalformedMessageError) -> Unreadable:
    """Describe a message that :func:`mcp_ws_ide.core.messages.parse` refused, with the place and a quote."""
    at = messages.offset_of(error)
    if at is None:
        return _unreadable(text, error.code, f"{error.reason}: {quote(text, 0)}", len(text))
    reason = f"{error.reason.partition(' (byte ')[0]} ({_place(text, at)}): {quote(text, at)}"
    return _unreadable(text, error.code, reason, at)


def _not_json(text: bytes, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"JSON is nested too deeply: {quote(text, 0)}"
    at = messages.offset_of(error)
    if at is None:
        return f"not valid JSON: it is cut off ({_place(text, len(text))}): {quote(text, len(text))}"
    reason = str(error).removeprefix("JSON is malformed: ").partition(" (byte ")[0]
    return f"not valid JSON: {reason} ({_place(text, at)}): {quote(text, at)}"


def _place(text: bytes, at: int) -> str:
    path = json_scan.path_at(text, at)
    return f"byte {at}, at {path}" if path else f"byte {at}"


def quote(text: bytes, at: int) -> str:
    """Return what is around byte ``at``, on one line, with … for what is left out."""
    start, end = max(0, at - QUOTE), at + QUOTE
    shown = text[start:end].decode(errors="replace")
    shown = "".join(c if c.isprintable() else "\ufffd" for c in shown)
    return f"{'…' if start else ''}{shown}{'…' if end < len(text) else ''}"
