"""What is checked, what it has, and how a check reaches it."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2

from mcp_ws_ide.conformance import mcp
from mcp_ws_ide.conformance.server.conversation import RESUME, Conversation, parsed, short
from mcp_ws_ide.conformance.verdicts import NotReachedError, UnmetError
from mcp_ws_ide.conformance.wire import USER_AGENT, Exchange, Link, Refused, open_link
from mcp_ws_ide.sanitise import visible


class UnreachableError(Exception):
    """Nothing can be checked: the endpoint opens no WebSocket."""


@dataclass(frozen=True, slots=True)
class Target:
    """What the user has said about the endpoint."""

    url: str
    token: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    timeout: float = 5.0
    """Seconds to wait for each answer."""
    era: mcp.Era | None = None
    """The era of the requests; None for the newest that the endpoint answers."""
    echo_tool: str | None = None
    """A tool with one argument, a text that its result repeats."""
    progress_tool: str | None = None
    """A tool that reports progress."""
    progress_arguments: dict[str, Any] = field(default_factory=dict)
    max_message_bytes: int | None = None

    @property
    def parts(self) -> Any:
        """The parts of the URL."""
        return urlsplit(self.url)

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return bool(self.parts.scheme == "wss")

    @property
    def origin(self) -> str:
        """The endpoint's own origin."""
        return f"http{'s' if self.secure else ''}://{self.parts.netloc.rpartition('@')[2]}"

    def with_path(self, path: str) -> str:
        """The URL with another path."""
        return str(urlunsplit(self.parts._replace(path=path)))

    @property
    def http_url(self) -> str:
        """The URL for plain HTTP."""
        return str(urlunsplit(self.parts._replace(scheme="https" if self.secure else "http")))

    def exchange(self) -> Exchange:
        """Where one check writes down what it does; the token is hidden."""
        secrets = [
            value for name, value in self.headers.items() if name.lower() in ("authorization", "cookie")
        ]
        if self.token:
            secrets += [self.token, unpadded(self.token)]
        return Exchange(tuple(secrets))


@dataclass(slots=True)
class Facts:
    """What the endpoint has, as the survey found it."""

    plain: tuple[str, ...] = ("mcp",)
    """What to offer for a link that cannot be resumed; ``mcp.resume.v1`` if there are no others."""
    selected: str | None = None
    """What it selects of ``mcp.resume.v1`` and ``mcp``."""
    eras: tuple[mcp.Era, ...] = ()
    unanswered: str = ""
    """Why it has no era: what became of ``initialize``."""
    server: str = ""
    """Name and version of the MCP server, as it gives them."""
    opened: dict[str, Any] = field(default_factory=dict)
    echo_argument: str | None = None
    strange: list[str] = field(default_factory=list)
    """Messages of any check that are not one JSON-RPC object in a text message."""

    @property
    def resumable(self) -> bool:
        """Whether it speaks ``mcp.resume.v1``: some endpoints select whatever is offered."""
        return self.selected == RESUME and bool(self.opened)


def unpadded(token: str) -> str:
    """A token as it stands in the subprotocol ``mcp.auth.…``."""
    return base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


class Probe:
    """What one check has of the endpoint: links that are cut when it ends, and what went over them."""

    def __init__(self, target: Target, facts: Facts) -> None:
        self.target = target
        self.facts = facts
        self.exchange = target.exchange()
        self.seconds = target.timeout
        self._links: list[Link] = []
        self._conversations: list[Conversation] = []

    @property
    def era(self) -> mcp.Era:
        """The era of the requests.

        Raises:
            NotReachedError: the endpoint answers requests of neither.
        """
        if not self.facts.eras:
            reason = f": {self.facts.unanswered}" if self.facts.unanswered else ""
            raise NotReachedError(f"the endpoint answers neither server/discover nor initialize{reason}")
        return self.target.era or self.facts.eras[0]

    def credential(self) -> dict[str, str]:
        """The headers that let a request in."""
        bearer = {"Authorization": f"Bearer {self.target.token}"} if self.target.token else {}
        return {**bearer, **self.target.headers}

    async def handshake(
        self,
        *,
        subprotocols: tuple[str, ...] | None = None,
        headers: dict[str, str] | None = None,
        url: str | None = None,
        **options: Any,
    ) -> Link | Refused:
        """Open a link: with the credential unless other headers are given, and as plain unless others are offered."""
        answer = await open_link(
            url or self.target.url,
            self.exchange,
            self.seconds,
            subprotocols=self.facts.plain if subprotocols is None else subprotocols,
            headers=self.credential() if headers is None else headers,
            **options,
        )
        if isinstance(answer, Link):
            self._links.append(answer)
        return answer

    async def link(self, **options: Any) -> Link:
        """As :meth:`handshake`, where the check needs the link.

        Raises:
            NotReachedError: the handshake was refused.
        """
        answer = await self.handshake(**options)
        if isinstance(answer, Refused):
            raise NotReachedError(f"the WebSocket handshake failed: {answer}")
        return answer

    async def session(self, era: mcp.Era) -> Conversation:
        """Open a plain link, for a conversation that begins with neither era's first message.

        Raises:
            NotReachedError: the link or the session was not opened.
        """
        conversation = Conversation(await self.link(), era, self.seconds)
        try:
            await conversation.open()
        except UnmetError as error:
            raise NotReachedError(f"the session was not opened: {error}") from None
        return conversation

    async def talk(
        self, *, resumable: bool = False, era: mcp.Era | None = None, **options: Any
    ) -> Conversation:
        """Open a link and begin a conversation on it.

        Raises:
            NotReachedError: the link or the session was not opened.
        """
        if resumable:
            options["subprotocols"] = (RESUME,)
        conversation = Conversation(await self.link(**options), era or self.era, self.seconds)
        self._conversations.append(conversation)
        try:
            await conversation.begin()
        except UnmetError as error:
            raise NotReachedError(f"the session was not opened: {error}") from None
        return conversation

    async def again(self, conversation: Conversation, **options: Any) -> dict[str, Any]:
        """Resume a conversation on a new link."""
        return await conversation.go_on(await self.link(subprotocols=(RESUME,)), **options)

    async def get(self, url: str, headers: dict[str, str]) -> httpx2.Response:
        """A GET, without following redirects."""
        self.exchange.sent(f"GET {url}")
        try:
            async with httpx2.AsyncClient(timeout=self.seconds, headers={"User-Agent": USER_AGENT}) as client:
                answer = await client.get(url, headers=headers)
        except httpx2.HTTPError as error:
            raise NotReachedError(f"no HTTP response: {error or type(error).__name__}") from None
        self.exchange.came(f"HTTP {answer.status_code}")
        return answer

    def leave_last(self) -> None:
        """Cut the link that was opened last."""
        self._links[-1].abort(noted=True)

    async def leave(self) -> None:
        """End every session, and cut every link; note what was strange."""
        await asyncio.gather(*(link.close(1000, 1.0) for link in self._links if link.open))
        for link in self._links:
            link.abort()
        for conversation in self._conversations:
            for frame in conversation.frames:
                message = parsed(frame)
                if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
                    self.facts.strange.append(frame[:200])


async def survey(target: Target) -> Facts:
    """Find out what the endpoint has.

    Raises:
        UnreachableError: it opens no WebSocket.
    """
    facts = Facts()
    probe = Probe(target, facts)
    try:
        await _subprotocols(probe, facts)
        await _eras(probe, facts)
        if target.echo_tool and facts.eras:
            await _echo(probe, facts)
    except (NotReachedError, UnmetError) as error:
        raise UnreachableError(f"{target.url}: {error}") from None
    finally:
        await probe.leave()
    facts.strange.clear()
    return facts


async def _subprotocols(probe: Probe, facts: Facts) -> None:
    refused: list[str] = []
    offers: tuple[tuple[str, ...], ...] = ((RESUME, "mcp"), ("mcp",), ())
    for offer in offers:
        answer = await probe.handshake(subprotocols=offer)
        if isinstance(answer, Link):
            facts.selected = answer.subprotocol
            facts.plain = () if offer == () else ("mcp",)
            if facts.selected == RESUME:
                facts.opened = await _opened(probe, answer)
                facts.plain = await _plain(probe)
            return
        refused.append(f"offering {', '.join(offer) or 'no subprotocol'}: {answer}")
    hint = ""
    if isinstance(answer, Refused) and answer.status == 401:
        hint = f"; it asks for a credential (--token, --token-file or --header) and says: {_message(answer.body)}"
    raise UnreachableError(f"{probe.target.url} opens no WebSocket: {'; '.join(refused)}{hint}")


def _message(body: bytes) -> str:
    """Return the message of an error in JSON, or the beginning of another body."""
    try:
        found = json.loads(body)
        found = found.get("error", found)
        return visible(str(found["message"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return visible(body[:100].decode(errors="replace")) or "nothing"


async def _plain(probe: Probe) -> tuple[str, ...]:
    offers: tuple[tuple[str, ...], ...] = (("mcp",), ())
    for offer in offers:
        if isinstance(await probe.handshake(subprotocols=offer), Link):
            return offer
    return (RESUME,)


async def _opened(probe: Probe, link: Link) -> dict[str, Any]:
    conversation = Conversation(link, "modern", probe.seconds)
    try:
        await conversation.open()
    except UnmetError:  # one that selects whatever is offered
        return {}
    return conversation.opened


async def _eras(probe: Probe, facts: Facts) -> None:
    found: list[mcp.Era] = []
    modern = await probe.session("modern")
    try:
        answer = await modern.small()
        if "result" in answer:
            found.append("modern")
            facts.server = _name(answer["result"])
    except UnmetError:
        pass  # silence, as of a server that waits for its handshake
    handshake = await probe.session("handshake")
    try:
        answer = await handshake.request(mcp.initialize(1))
        if "result" in answer:
            found.append("handshake")
            facts.server = facts.server or _name(answer["result"])
        else:
            facts.unanswered = short(answer)
    except UnmetError as error:
        facts.unanswered = str(error)
    facts.eras = tuple(found)
    if probe.target.era and probe.target.era not in found:
        answers = f"in the era {found[0]}, so choose that one" if found else "in neither era"
        raise UnreachableError(
            f"{probe.target.url} does not answer in the era {probe.target.era} (--era); it answers {answers}"
        )


def _name(result: Any) -> str:
    info = result.get("serverInfo") or result.get("_meta", {}).get("io.modelcontextprotocol/serverInfo") or {}
    return " ".join(str(info[key]) for key in ("name", "version") if info.get(key))


async def _echo(probe: Probe, facts: Facts) -> None:
    conversation = await probe.talk()
    answer = await conversation.request(mcp.request(probe.era, next(conversation.ids), "tools/list"))
    tools = answer.get("result", {}).get("tools", [])
    name = probe.target.echo_tool
    tool = next((item for item in tools if item.get("name") == name), None)
    if tool is None:
        known = ", ".join(str(item.get("name")) for item in tools) or short(answer)
        raise UnreachableError(f"there is no tool {name} for --echo-tool; the first page has: {known}")
    properties = tool.get("inputSchema", {}).get("properties", {})
    facts.echo_argument = next(iter(properties), "text")
