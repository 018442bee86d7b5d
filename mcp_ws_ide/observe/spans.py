"""Spans in the form of OTLP 1 in JSON: what the export of a recording and that of the gateway have in common. Pure.

A session is a span; each request of a client is a span below it, and the same request on the server leg one below that.
Names and attributes are those of OpenTelemetry's semantic conventions for MCP. A request whose ``_meta`` has a W3C
``traceparent`` continues that trace, and is linked to its session.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
"""A ``traceparent`` with a valid trace and parent (W3C Trace Context, section 3.2)."""
INTERNAL: Final = 1
SERVER: Final = 2
CLIENT: Final = 3
ERROR: Final = 2
"""The code of a span's status."""
MAX_TEXT: Final = 1000
"""Characters of a status, of an attribute and of an event's text."""
MAX_STATE: Final = 512
"""Characters of a ``tracestate``."""
SAMPLED: Final = 1
"""The flag of a ``traceparent`` whose sender records the trace."""

Span = dict[str, Any]
"""One span, as OTLP in JSON has it."""


class Caller(NamedTuple):
    """The span of the program that sent a request.

    Attributes:
        trace, span: ids in hexadecimal.
        state: the ``tracestate``; ``""`` if there is none.
        sampled: whether that program records the trace.
    """

    trace: str
    span: str
    state: str
    sampled: bool


def caller_of(traceparent: object, tracestate: object) -> Caller | None:
    """Return the caller that a request's ``_meta`` names; None if it names none, or is not valid."""
    match = TRACEPARENT.fullmatch(traceparent) if isinstance(traceparent, str) else None
    if match is None:
        return None
    state = tracestate[:MAX_STATE] if isinstance(tracestate, str) else ""
    return Caller(match[1], match[2], state, bool(int(match[3], 16) & SAMPLED))


def place_of(caller: Caller | None, trace: str, session: str, outer: str) -> Span:
    """Return the members of a span that say where it belongs.

    Args:
        caller: the span of the program that sent the request.
        trace, session: ids of the session's trace and span; ``session`` is ``""`` if it belongs to no session.
        outer: id of the span of the same request on the leg it came from; ``""`` if this is that leg.
    """
    place: Span = {"traceId": trace}
    if session:
        place["parentSpanId"] = session
    if caller is not None:
        place |= {"traceId": caller.trace, "parentSpanId": caller.span}
        if caller.state:
            place["traceState"] = caller.state
        if session and not outer:
            place["links"] = [{"traceId": trace, "spanId": session}]
    if outer:
        place["parentSpanId"] = outer
    return place


def name_of(method: str, target: str) -> str:
    """Return the name of a span: with the target only where there are few different ones."""
    return f"{method} {target}" if target and method in ("tools/call", "prompts/get") else method


def request_attributes(method: str, target: str, request_id: str, session: str) -> Iterator[Span]:
    """Yield what a request says of itself."""
    yield attribute("mcp.method.name", method)
    yield attribute("jsonrpc.request.id", request_id)
    if method == "tools/call":
        yield attribute("gen_ai.operation.name", "execute_tool")
        yield attribute("gen_ai.tool.name", target)
    elif method == "prompts/get":
        yield attribute("gen_ai.prompt.name", target)
    elif method.startswith("resources/") and target:
        yield attribute("mcp.resource.uri", target)
    if session:
        yield attribute("mcp.session.id", session)


def session_attributes(session: str, revision: str, client: str) -> list[Span]:
    """Return what is known of a session; ``revision`` and ``client`` are ``""`` if they are not known."""
    attributes = [attribute("mcp.session.id", session)]
    if revision:
        attributes.append(attribute("mcp.protocol.version", revision))
    if client:
        attributes.append(attribute("user_agent.original", client))
    return attributes


def fail(span: Span, code: str, text: str) -> None:
    """Note in a span that its request failed; ``code`` is the ``error.type``."""
    span["attributes"].append(attribute("error.type", code))
    span["status"] = {"code": ERROR, "message": text[:MAX_TEXT]}


def event(moment: float, name: str, message: object) -> Span:
    """Return something that happened on the way of a request, with its message if that is a text."""
    attributes = [attribute("message", message)] if isinstance(message, str) else []
    return {"timeUnixNano": nanoseconds(moment), "name": name, "attributes": attributes}


def attribute(name: str, value: str) -> Span:
    """Return an attribute with a text, shortened."""
    return {"key": name, "value": {"stringValue": value[:MAX_TEXT]}}


def nanoseconds(moment: float) -> str:
    """Return Unix time in nanoseconds, which JSON of OTLP has as text; exact to microseconds."""
    return str(round(moment * 1e6) * 1000)


def resource_of(server: str) -> Span:
    """Return the resource whose spans those of a server are."""
    return {"attributes": [attribute("service.name", server), attribute("service.namespace", "mcp")]}
