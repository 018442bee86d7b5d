"""Checks of sections 4, 5 and 9: frames, malformed messages, liveness and the close handshake."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Final

from websockets.frames import Opcode

from mcp_ws_ide.conformance import mcp
from mcp_ws_ide.conformance.server.conversation import Conversation, Reaction, parsed, short
from mcp_ws_ide.conformance.server.registry import check
from mcp_ws_ide.conformance.server.target import Probe
from mcp_ws_ide.conformance.verdicts import Outcome, failed, not_applicable, passed, warned
from mcp_ws_ide.conformance.wire import Closed

DEFAULT_LIMIT: Final = 10 << 20
PINGS: Final = 26.0
"""Seconds within which a Ping has to come."""
LOST: Final = 80.0
"""Seconds within which a link without Pongs has to end."""


async def _after(probe: Probe, *texts: str) -> Reaction:
    conversation = await probe.talk()
    for text in texts:
        await conversation.link.send(text)
    return await conversation.reaction()


def _refused(reaction: Reaction, code: int, *, null: bool) -> Outcome:
    error, came = reaction.error(), str(reaction)
    if not error:
        return failed(came)
    if mcp.error_code(error) != code:
        return warned(came)
    if null and error.get("id") is not None:
        return failed(came)
    return passed(came) if reaction.goes_on else warned(f"{came}: one bad message ends the link")


async def _closing(
    probe: Probe, code: int, provoke: Callable[[Conversation], Awaitable[None]], seconds: float | None = None
) -> Outcome:
    """Begin a conversation, provoke the end of the link, and compare the close code."""
    conversation = await probe.talk()
    await provoke(conversation)
    wait = seconds or probe.seconds
    reaction = await conversation.reaction() if seconds is None else None
    closed = reaction.closed if reaction is not None else await conversation.link.end(wait)
    if closed is None:
        return failed(str(reaction) if reaction is not None else f"still open after {wait:g} s")
    if closed.code == code:
        return passed(str(closed))
    return warned(f"{closed}; the link ended, but not with {code}")


@check(
    "frames-text",
    "Every message of this run was one text message with one JSON-RPC 2.0 object.",
    "text messages with one object each",
)
async def text(probe: Probe) -> Outcome:
    conversation = await probe.talk()
    await conversation.small()
    strange = [
        *probe.facts.strange,
        *(repr(item) for item in conversation.other if not isinstance(item, dict)),
    ]
    return (
        failed(f"{len(strange)} others, the first: {strange[0]}") if strange else passed("text messages only")
    )


@check(
    "frames-text/fragments",
    "A message in several frames, with a Ping between them, is one message.",
    "the response to the request",
)
async def fragments(probe: Probe) -> Outcome:
    conversation = await probe.talk()
    number = next(conversation.ids)
    raw = json.dumps(mcp.small(conversation.era, number)).encode()
    link = conversation.link
    await link.send_frame(Opcode.TEXT, raw[:10], end=False)
    await link.send_frame(Opcode.PING, b"between")
    await link.send_frame(Opcode.CONT, raw[10:20], end=False)
    await link.send_frame(Opcode.CONT, raw[20:])
    return passed(short(await conversation.response(number)))


@check(
    "frames-bytes/line-breaks", "Line breaks between JSON tokens are harmless.", "the response to the request"
)
async def line_breaks(probe: Probe) -> Outcome:
    conversation = await probe.talk()
    number = next(conversation.ids)
    await conversation.link.send(
        json.dumps(mcp.small(conversation.era, number), indent=1).replace("\n", "\r\n")
    )
    return passed(short(await conversation.response(number)))


async def _echoed(probe: Probe, text: str) -> str | None:
    conversation = await probe.talk()
    arguments = {probe.facts.echo_argument or "text": "TEXT"}
    message = mcp.call(
        conversation.era, number := next(conversation.ids), probe.target.echo_tool or "", arguments
    )
    await conversation.link.send(json.dumps(message).replace('"TEXT"', text))
    answer = await conversation.response(number)
    content = answer.get("result", {}).get("content", [{}])
    return content[0].get("text") if content else None


@check(
    "frames-bytes/text", "A text passes unchanged, whatever its characters.", "the same text", needs=("echo",)
)
async def characters(probe: Probe) -> Outcome:
    text = 'ASCII, ü, 漢, 🎈, \u2028, \x7f, \\, ", \t, end\x00'
    came = await _echoed(probe, json.dumps(text, ensure_ascii=False))
    return passed("the same text") if came == text else failed(f"{came!r} for {text!r}")


@check(
    "frames-surrogate",
    "Half of a surrogate pair does no harm; what the server gets is U+FFFD.",
    "a text with U+FFFD",
    needs=("echo",),
)
async def surrogate(probe: Probe) -> Outcome:
    came = await _echoed(probe, r'"half \ud83d of a pair"')
    return passed(repr(came)) if came == "half \ufffd of a pair" else warned(repr(came))


@check(
    "frames-members",
    "A member that JSON-RPC does not know is no reason to refuse.",
    "the response to the request",
)
async def members(probe: Probe) -> Outcome:
    conversation = await probe.talk()
    number = next(conversation.ids)
    answer = await conversation.request({**mcp.small(conversation.era, number), "x-unknown": {"a": [1]}})
    return passed(short(answer)) if mcp.is_taken(answer) else failed(short(answer))


@check("frames-binary", "A binary message closes the link.", "close 1003")
async def binary(probe: Probe) -> Outcome:
    async def provoke(conversation: Conversation) -> None:
        raw = json.dumps(mcp.small(conversation.era, 500)).encode()
        await conversation.link.send_frame(Opcode.BINARY, raw)

    return await _closing(probe, 1003, provoke)


@check("frames-utf8", "Invalid UTF-8 closes the link.", "close 1007")
async def utf8(probe: Probe) -> Outcome:
    async def provoke(conversation: Conversation) -> None:
        await conversation.link.send_frame(Opcode.TEXT, b'{"jsonrpc":"2.0","method":"\xc3\x28"}')

    return await _closing(probe, 1007, provoke)


@check("frames-large", "A message that is larger than the limit closes the link.", "close 1009")
async def large(probe: Probe) -> Outcome:
    known = probe.target.max_message_bytes or probe.facts.opened.get("max_message_bytes")
    limit = known if isinstance(known, int) else DEFAULT_LIMIT
    if limit > 64 << 20:
        return not_applicable(f"the limit is {limit} bytes; the check sends at most 64 MiB")
    conversation = await probe.talk()
    message = mcp.request(
        conversation.era, number := next(conversation.ids), "tools/list", {"pad": "x" * limit}
    )
    await conversation.link.send_json(message)
    event = await conversation.link.receive(probe.seconds)
    if isinstance(event, Closed):
        return (
            passed(str(event))
            if event.code == 1009
            else warned(f"{event}; the link ended, but not with 1009")
        )
    if known is None and mcp.is_response(parsed(event), number):
        return not_applicable(f"a message of {limit} bytes was answered; --max-message-bytes gives the limit")
    return failed(f"no end of the link: {event[:100] if event else 'silence'!r}")


@check("frames-illegal/opcode", "A reserved opcode closes the link (RFC 6455).", "close 1002")
async def opcode(probe: Probe) -> Outcome:
    async def provoke(conversation: Conversation) -> None:
        await conversation.link.send_bytes(b"\x83\x80\x00\x00\x00\x00", "a frame with the reserved opcode 3")

    return await _closing(probe, 1002, provoke, probe.seconds)


@check("frames-illegal/unmasked", "A frame that is not masked closes the link (RFC 6455).", "close 1002")
async def unmasked(probe: Probe) -> Outcome:
    async def provoke(conversation: Conversation) -> None:
        await conversation.link.send_frame(Opcode.TEXT, b'{"jsonrpc":"2.0","method":"x"}', masked=False)

    return await _closing(probe, 1002, provoke, probe.seconds)


@check(
    "frames-json",
    "What is not JSON is answered with an error, so that no client waits for ever.",
    "error -32700; the link stays open",
)
async def not_json(probe: Probe) -> Outcome:
    return _refused(await _after(probe, '{"jsonrpc":"2.0","id":7,"method"'), -32700, null=False)


@check("frames-message/batch", "A batch is refused.", "error -32600 with id null; the link stays open")
async def batch(probe: Probe) -> Outcome:
    return _refused(await _after(probe, json.dumps([mcp.small(probe.era, 700)])), -32600, null=True)


@check(
    "frames-message/version",
    "A message without jsonrpc 2.0 is refused.",
    "error -32600 with id 7 or null; the link stays open",
)
async def wrong_version(probe: Probe) -> Outcome:
    return _refused(await _after(probe, '{"jsonrpc":"1.0","id":7,"method":"tools/list"}'), -32600, null=False)


@check(
    "frames-message/twice",
    "A message with a member that occurs twice is refused: parsers differ in which one they take.",
    "error -32600 with id null; the link stays open",
    lenient=True,
)
async def twice(probe: Probe) -> Outcome:
    text = json.dumps(mcp.small(probe.era, 701)).replace('"id": 701', '"id": 701, "id": 702')
    return _refused(await _after(probe, text), -32600, null=True)


@check(
    "frames-fifth",
    "The fifth malformed message ends the link.",
    "an error for each, then close 1002",
    lenient=True,
)
async def fifth(probe: Probe) -> Outcome:
    reaction = await _after(probe, *["{"] * 5)
    errors = sum(mcp.error_code(message) is not None for message in reaction.messages)
    if reaction.closed and reaction.closed.code == 1002 and errors == 5:
        return passed(f"5 errors, then {reaction.closed}")
    return failed(str(reaction))


@check(
    "frames-same-id",
    "A request whose id is in flight is refused, and the first one keeps its response.",
    "error -32600 with id null",
    needs=("progress",),
)
async def same_id(probe: Probe) -> Outcome:
    conversation = await probe.talk()
    tool, arguments = probe.target.progress_tool or "", probe.target.progress_arguments
    number = next(conversation.ids)
    for _ in range(2):
        await conversation.send(mcp.call(conversation.era, number, tool, arguments))
    seen: list[object] = []
    while len(seen) < 3 and isinstance(message := await conversation.data(probe.seconds), dict):
        if "method" in message:
            continue
        seen.append(message)
        if mcp.error_code(message) == -32600 and message.get("id") is None:
            return passed(short(message))
        if len(seen) == 2:
            break
    return failed(f"{', '.join(map(short, seen)) or 'no response'}: a client cannot tell the two apart")


@check(
    "frames-fragile",
    "The client of the Python SDK 1.x, which crashes on other codes, gets 1000 or 1001.",
    "close 1001",
    lenient=True,
)
async def fragile(probe: Probe) -> Outcome:
    conversation = await probe.talk(subprotocols=("mcp",), agent=None)
    await conversation.link.send_frame(Opcode.BINARY, b"x")
    closed = (await conversation.reaction()).closed
    if closed is None:
        return not_applicable("the link was not closed")
    return passed(str(closed)) if closed.code in (1000, 1001) else failed(str(closed))


@check("liveness-pong", "A Ping is answered with a Pong that has its payload (RFC 6455).", "a Pong")
async def pong(probe: Probe) -> Outcome:
    link = await probe.link()
    return passed("a Pong") if await link.ping("conformance", probe.seconds) else failed("no Pong")


@check(
    "liveness-ping",
    "The gateway sends a Ping before a load balancer takes the link for idle.",
    f"a Ping within {PINGS:g} s",
    lenient=True,
    slow=PINGS,
)
async def ping(probe: Probe) -> Outcome:
    conversation = await probe.talk()
    after = await conversation.link.next_ping(PINGS)
    return failed(f"no Ping within {PINGS:g} s") if after is None else passed(f"a Ping after {after:.0f} s")


@check(
    "liveness-lost",
    "A link that answers no Ping is dropped.",
    f"the end of the link within {LOST:g} s",
    lenient=True,
    slow=LOST,
)
async def lost(probe: Probe) -> Outcome:
    conversation = await probe.talk()
    conversation.link.answer_no_ping()
    ended = await conversation.link.end(LOST)
    return failed(f"still open after {LOST:g} s") if ended is None else passed(str(ended))


@check(
    "liveness-control",
    "The control frame ping, for clients that cannot send Pings, is answered.",
    '{"mcp.ws":"pong"}',
    needs=("resumable",),
)
async def control_ping(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    await conversation.link.send_json({"mcp.ws": "ping"})
    return passed(json.dumps(await conversation.control("pong")))


@check("close-normal", "A close with 1000 is answered with a close frame.", "close 1000")
async def closes(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=probe.facts.resumable)
    await conversation.small()
    closed = await conversation.link.close(1000, probe.seconds)
    if closed is None or closed.code == 1006:
        return failed(str(closed or "no close frame"))
    return passed(str(closed)) if closed.code == 1000 else warned(str(closed))
