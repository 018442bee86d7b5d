"""Check messages against JSON-RPC 2.0 and the rules of MCP that can be decided exactly from what was seen.

A rule applies only if it is certain: the content of a truncated or withheld message is not checked, and a response is
checked against its request only if that was seen. Each violation cites the section of the revision in use; written here
is ``MCP 2025-11-25``, which also stays if the revision is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from mcp_ws_ide.core import messages
from mcp_ws_ide.core.bridges.methods import CACHEABLE, CAPABILITIES_KEY, LISTS
from mcp_ws_ide.core.messages import PROTOCOL_VERSION_KEY
from mcp_ws_ide.errors import MalformedMessageError
from mcp_ws_ide.inspector.model.records import CLIENT_LEG, TO_SERVER, Kind, Lane, part, value_key
from mcp_ws_ide.inspector.model.schema_import import schemas
from mcp_ws_ide.observe.tap_record import HIDDEN, TapRecord

if TYPE_CHECKING:
    from mcp_ws_ide.inspector.model.schemas import Schemas

WRITTEN: Final = "MCP 2025-11-25,"
"""How the citation of a section that several revisions share is written here."""
REVISIONS: Final = frozenset({"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"})
"""Revisions that have the cited sections; a peer may claim any other."""
GONE: Final = frozenset(
    {
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "sampling/createMessage",
        "elicitation/create",
        "roots/list",
    }
)
"""Requests that no longer exist in 2026-07-28."""
CACHED: Final = CACHEABLE | {"server/discover"}
"""Methods whose complete results have ``ttlMs`` and ``cacheScope``."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that a message violates."""

    code: str
    text: str
    section: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """The protocol on one leg of a session. ``revision`` is that of the newest request or response."""

    modern: bool
    revision: str


class Judge:
    """Checks messages in order; remembers the protocol of each leg of a session, and the progress of each token.

    Bounds: :data:`MAX_REMEMBERED` legs and tokens; the oldest are forgotten first.
    """

    def __init__(self) -> None:
        self._spoken: dict[tuple[str, str | None], Spoken] = {}
        self._progress: dict[tuple[str, str, object], float] = {}
        self._schemas: Schemas | None = None

    def judge(
        self,
        record: TapRecord,
        kind: Kind,
        lane: Lane,
        content: dict[str, Any],
        method: str,
        duplicate: bool,
        target: str = "",
    ) -> list[Violation]:
        """Return the violations of a message; ``method`` and ``target`` are its own, or those of its request."""
        if kind is Kind.MALFORMED:
            return [_malformed(record)]
        self._listen(record, kind, method, content)
        violations = [DUPLICATE] if duplicate else []
        if content:
            violations += self._content(record, kind, lane, content, method, target)
        return [self._cited(record, violation) for violation in violations] if violations else violations

    def _content(
        self, record: TapRecord, kind: Kind, lane: Lane, content: dict[str, Any], method: str, target: str
    ) -> list[Violation]:
        violations: list[Violation] = []
        spoken = self.spoken(record)
        modern = spoken.modern if spoken is not None else None
        if kind is Kind.REQUEST:
            violations += _request(lane, method, content, modern)
        elif kind is Kind.ERROR:
            violations += _error(content)
        elif kind is Kind.RESPONSE:
            violations += _result(method, content, modern)
            violations += self._learn(record, method, content)
        elif kind is Kind.NOTIFICATION:
            violations += self._notification(record, method, content)
        # Once, not on both legs; and not where a secret was redacted, which is not what the sender wrote.
        if method == "tools/call" and lane in CLIENT_LEG and HIDDEN not in (record.raw or ""):
            violations += self._against_schema(record.server, kind, content, target)
        return violations

    def _learn(self, record: TapRecord, method: str, content: dict[str, Any]) -> Iterator[Violation]:
        """Learn the schemas of listed tools; yield what is wrong with them."""
        tools = part(content, "result", "tools")
        if method == "tools/list" and isinstance(tools, list):
            if self._schemas is None:
                self._schemas = schemas()
            self._schemas.learn(record.server, tools)
            for text in self._schemas.broken(tools):
                yield Violation("schema-reference", text, "MCP 2025-11-25, server/tools: Tool")

    def _against_schema(
        self, server: str, kind: Kind, content: dict[str, Any], tool: str
    ) -> Iterator[Violation]:
        if self._schemas is None:
            return
        if kind is Kind.REQUEST:
            for text in self._schemas.arguments(server, tool, part(content, "params", "arguments")):
                yield Violation("input-schema", text, "MCP 2025-11-25, server/tools: inputSchema")
        result = part(content, "result")
        if kind is not Kind.RESPONSE or not isinstance(result, dict) or result.get("isError") is True:
            return
        if result.get("resultType", "complete") == "complete" and "task" not in result:
            for text in self._schemas.output(server, tool, result.get("structuredContent")):
                yield Violation("output-schema", text, "MCP 2025-11-25, server/tools: Output Schema")

    def spoken(self, record: TapRecord) -> Spoken | None:
        """Return the protocol where this message passed; None while it is unknown."""
        return self._spoken.get((_scope(record), record.leg))

    def _listen(self, record: TapRecord, kind: Kind, method: str, content: dict[str, Any]) -> None:
        """Learn the protocol of each leg separately: the gateway may translate between the eras."""
        if kind is Kind.REQUEST:
            version = part(content, "params", "_meta", PROTOCOL_VERSION_KEY)
            if version is not None or method == "server/discover":
                self._hear(record, True, version)
            elif method == "initialize":
                self._hear(record, False, part(content, "params", "protocolVersion"))
        elif kind is Kind.RESPONSE and method == "initialize":
            self._hear(record, False, part(content, "result", "protocolVersion"))

    def _hear(self, record: TapRecord, modern: bool, version: Any) -> None:
        before = self.spoken(record)
        revision = version[:20] if isinstance(version, str) else ""
        if before is None or before.modern != modern or (revision and revision != before.revision):
            _remember(self._spoken, (_scope(record), record.leg), Spoken(modern, revision))

    def _cited(self, record: TapRecord, violation: Violation) -> Violation:
        """Return the violation with the citation of the revision in use."""
        spoken = self.spoken(record)
        if spoken is None or spoken.revision not in REVISIONS or not violation.section.startswith(WRITTEN):
            return violation
        return replace(violation, section=f"MCP {spoken.revision},{violation.section[len(WRITTEN) :]}")

    def _notification(self, record: TapRecord, method: str, content: dict[str, Any]) -> Iterator[Violation]:
        if method != "notifications/progress":
            return
        progress, token = (
            part(content, "params", "progress"),
            value_key(part(content, "params", "progressToken")),
        )
        if isinstance(progress, bool) or not isinstance(progress, (int, float)) or token is None:
            yield Violation(
                "progress-shape",
                "progress needs a progressToken and a number progress",
                "MCP 2025-11-25, basic/utilities/progress",
            )
            return
        key = _scope(record), f"{record.leg}{record.direction}", token
        before = self._progress.get(key)
        if before is not None and progress <= before:
            yield Violation(
                "progress-order",
                f"progress must increase: {before:g}, then {progress:g}",
                "MCP 2025-11-25, basic/utilities/progress: Behavior Requirements",
            )
        _remember(self._progress, key, float(progress))

    def answered(self, record: TapRecord, token: messages.IdKey | None) -> None:
        """Forget the progress token of a completed request, which may be reused."""
        for direction in ("clientin", "clientout", "upstreamin", "upstreamout"):
            self._progress.pop((_scope(record), direction, token), None)


MAX_REMEMBERED: Final = 20_000
CODES: Final = frozenset(
    {
        *("cache-missing", "dup-id", "error-shape", "gone", "id-type", "input-schema", "input-shape"),
        *("malformed", "meta-missing", "orphan", "output-schema", "params-shape", "progress-order"),
        "schema-reference",
        *("progress-shape", "result-shape", "result-type", "server-request", "tool-shape"),
    }
)
"""All codes of the :class:`Violation` objects of this module."""

DUPLICATE: Final = Violation(
    "dup-id",
    "the id is already used by a request in flight",
    "MCP 2025-11-25, basic: Requests",
)
ORPHAN: Final = Violation(
    "orphan", "response that matches no request of this session", "JSON-RPC 2.0, section 5: Response object"
)


def _remember(table: dict[Any, Any], key: Any, value: Any) -> None:
    table.pop(key, None)
    table[key] = value
    if len(table) > MAX_REMEMBERED:
        del table[next(iter(table))]


def _scope(record: TapRecord) -> str:
    return record.session or f"\0{record.server}"


def _malformed(record: TapRecord) -> Violation:
    reason = "not a JSON-RPC message"
    if not record.truncated and record.raw is not None:
        try:
            messages.parse(record.raw.encode(errors="replace"))
        except MalformedMessageError as error:
            reason = str(error)
    return Violation("malformed", reason, "JSON-RPC 2.0, sections 4 and 5")


def _request(lane: Lane, method: str, content: dict[str, Any], modern: bool | None) -> Iterator[Violation]:
    identifier = content.get("id")
    if isinstance(identifier, float):
        yield Violation("id-type", "an id must be a string or an integer", "MCP 2025-11-25, basic: Requests")
    if not isinstance(content.get("params", {}), dict):
        yield Violation("params-shape", "params must be an object", "MCP 2025-11-25, schema: JSONRPCRequest")
    if method == "tools/call" and not isinstance(part(content, "params", "name"), str):
        yield Violation(
            "params-shape", "tools/call needs a string params.name", "MCP 2025-11-25, schema: CallToolRequest"
        )
    if modern and lane not in TO_SERVER:
        yield Violation(
            "server-request",
            "a server must not send requests in this revision; it responds with input_required",
            "MCP 2026-07-28, basic: Requests",
        )
    elif modern:
        yield from _modern_request(method, content)
    elif modern is False and method == "initialize":
        yield from _initialize(content)


def _modern_request(method: str, content: dict[str, Any]) -> Iterator[Violation]:
    if method in GONE:
        yield Violation("gone", f"{method} does not exist in this revision", "MCP 2026-07-28, changelog")
        return
    for key in (PROTOCOL_VERSION_KEY, CAPABILITIES_KEY):
        if part(content, "params", "_meta", key) is None:
            yield Violation("meta-missing", f"_meta lacks {key}", "MCP 2026-07-28, schema: RequestMetaObject")


def _initialize(content: dict[str, Any]) -> Iterator[Violation]:
    for key, kind in (("protocolVersion", str), ("capabilities", dict), ("clientInfo", dict)):
        if not isinstance(part(content, "params", key), kind):
            yield Violation(
                "params-shape", f"initialize needs params.{key}", "MCP 2025-11-25, schema: InitializeRequest"
            )


def _error(content: dict[str, Any]) -> Iterator[Violation]:
    code, text = part(content, "error", "code"), part(content, "error", "message")
    if isinstance(code, bool) or not isinstance(code, int):
        yield Violation("error-shape", "error.code must be an integer", "JSON-RPC 2.0, section 5.1")
    if not isinstance(text, str):
        yield Violation("error-shape", "error.message must be a string", "JSON-RPC 2.0, section 5.1")


def _result(method: str, content: dict[str, Any], modern: bool | None) -> Iterator[Violation]:
    result = content.get("result")
    if not isinstance(result, dict):
        yield Violation("result-shape", "result must be an object", "MCP 2025-11-25, schema: Result")
        return
    kind = result.get("resultType")
    if modern and not isinstance(kind, str):
        yield Violation("result-type", "the result lacks resultType", "MCP 2026-07-28, schema: Result")
    if kind == "input_required":
        yield from _input_required(result)
        return
    yield from _shape(method, result)
    if modern and method in CACHED:
        for key in ("ttlMs", "cacheScope"):
            if key not in result:
                yield Violation(
                    "cache-missing", f"the result lacks {key}", "MCP 2026-07-28, schema: CacheableResult"
                )


def _input_required(result: dict[str, Any]) -> Iterator[Violation]:
    if "inputRequests" not in result and "requestState" not in result:
        yield Violation(
            "input-shape",
            "input_required needs inputRequests or requestState",
            "MCP 2026-07-28, schema: InputRequiredResult",
        )


def _shape(method: str, result: dict[str, Any]) -> Iterator[Violation]:
    if method == "tools/call" and not isinstance(result.get("content"), list):
        yield Violation(
            "result-shape", "the result lacks the list 'content'", "MCP 2025-11-25, schema: CallToolResult"
        )
    if method == "initialize":
        for key, kind in (("protocolVersion", str), ("capabilities", dict), ("serverInfo", dict)):
            if not isinstance(result.get(key), kind):
                yield Violation(
                    "result-shape", f"the result lacks {key}", "MCP 2025-11-25, schema: InitializeResult"
                )
    name = LISTS.get(method)
    if name is None:
        return
    items = result.get(name)
    if not isinstance(items, list):
        yield Violation(
            "result-shape", f"the result lacks the list {name}", f"MCP 2025-11-25, schema: {method}"
        )
    elif method == "tools/list":
        yield from _tools(items)


def _tools(items: list[Any]) -> Iterator[Violation]:
    seen: set[str] = set()
    for item in items:
        name = part(item, "name")
        if not isinstance(name, str):
            yield Violation("tool-shape", "a tool has no name", "MCP 2025-11-25, schema: Tool")
            continue
        if part(item, "inputSchema", "type") != "object":
            yield Violation(
                "tool-shape",
                f"the inputSchema of {name!r} must have the type object",
                "MCP 2025-11-25, schema: Tool",
            )
        if name in seen:
            yield Violation(
                "tool-shape", f"two tools have the name {name!r}", "MCP 2025-11-25, server/tools: Data Types"
            )
        seen.add(name)
