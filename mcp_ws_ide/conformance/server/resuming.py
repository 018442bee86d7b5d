"""Checks of section 6: control frames, resuming, acknowledging, and how a session ends."""

from __future__ import annotations

import json
import math
import secrets
import time
from typing import Any

from websockets.frames import Opcode

from mcp_ws_ide.conformance import mcp
from mcp_ws_ide.conformance.server.conversation import RESUME, Conversation, parsed, said, short
from mcp_ws_ide.conformance.server.registry import check
from mcp_ws_ide.conformance.server.target import Probe
from mcp_ws_ide.conformance.verdicts import Outcome, UnmetError, failed, passed, warned
from mcp_ws_ide.conformance.wire import Closed

_RESUMABLE = ("resumable",)
_GONE = '{"mcp.ws":"gone","reason":…}, then close 4404'
_HELLO = 35.0


async def _closes(probe: Probe, text: str, code: int) -> Outcome:
    """Send one frame in a session; compare the close code."""
    conversation = await probe.talk(resumable=True)
    await conversation.link.send(text)
    closed = await conversation.link.end(probe.seconds)
    if closed is None:
        return failed(f"still open after {probe.seconds:g} s")
    return passed(str(closed)) if closed.code == code else failed(str(closed))


async def _resume(probe: Probe, token: str, count: Any) -> tuple[dict[str, Any], Closed | None]:
    """Try to resume on a new link; return the first control frame, and the end of the link if it was ``gone``."""
    link = await probe.link(subprotocols=(RESUME,))
    await link.send_json({"mcp.ws": "resume", "token": token, "recv": count})
    frame = parsed(await link.receive(probe.seconds))
    answer = frame if isinstance(frame, dict) else {}
    return answer, await link.end(probe.seconds) if answer.get("mcp.ws") != "resumed" else None


def _is_gone(answer: dict[str, Any], closed: Closed | None) -> Outcome:
    kind = answer.get("mcp.ws")
    came = (
        f"{json.dumps(answer)}, then {closed or 'no end of the link'}" if answer else f"{closed or 'silence'}"
    )
    if kind != "gone":
        return failed(came)
    return passed(came) if closed is not None and closed.code == 4404 else failed(came)


async def _ends_with(probe: Probe, conversation: Conversation) -> Outcome:
    return _is_gone(*await _resume(probe, conversation.token, conversation.received))


@check("control-open", "open starts a session.", '{"mcp.ws":"opened",…}', needs=("selects resuming",))
async def opens(probe: Probe) -> Outcome:
    if not probe.facts.resumable:
        link = await probe.link(subprotocols=(RESUME,))
        await link.send_json({"mcp.ws": "open"})
        event = await link.receive(probe.seconds)
        return failed(f"{said(event)}: mcp.resume.v1 was selected, and is not spoken")
    conversation = await probe.talk(resumable=True)
    await conversation.small()
    return passed(f"opened, with the members {', '.join(sorted(conversation.opened))}")


@check(
    "control-opened",
    "opened is the first frame that the gateway sends.",
    '{"mcp.ws":"opened",…}, and nothing before open',
    needs=_RESUMABLE,
)
async def opened_first(probe: Probe) -> Outcome:
    link = await probe.link(subprotocols=(RESUME,))
    if (early := await link.receive(0.2)) is not None:
        return failed(f"{said(early)} before open")
    await link.send_json({"mcp.ws": "open"})
    event = await link.receive(probe.seconds)
    frame = parsed(event)
    right = isinstance(frame, dict) and frame.get("mcp.ws") == "opened"
    return passed(said(event)) if right else failed(said(event))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_seconds(value: Any) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value >= 0
    )


def _is_window(value: Any) -> bool:
    return isinstance(value, dict) and _is_count(value.get("frames")) and _is_count(value.get("bytes"))


async def _member(probe: Probe, name: str, right: bool) -> Outcome:
    shown = json.dumps(probe.facts.opened.get(name, "missing")) if name != "token" else "a text"
    return passed(shown) if right else failed(shown)


@check("opened-session", "opened has the public id of the session.", "session, a text", needs=_RESUMABLE)
async def session_member(probe: Probe) -> Outcome:
    return await _member(probe, "session", _is_text(probe.facts.opened.get("session")))


@check("opened-token", "opened has the secret that resumes the session.", "token, a text", needs=_RESUMABLE)
async def token_member(probe: Probe) -> Outcome:
    return await _member(probe, "token", _is_text(probe.facts.opened.get("token")))


@check("opened-grace", "opened tells how long a session waits.", "grace, in seconds", needs=_RESUMABLE)
async def grace_member(probe: Probe) -> Outcome:
    return await _member(probe, "grace", _is_seconds(probe.facts.opened.get("grace")))


@check("opened-window", "opened tells the window.", "window, with frames and bytes", needs=_RESUMABLE)
async def window_member(probe: Probe) -> Outcome:
    return await _member(probe, "window", _is_window(probe.facts.opened.get("window")))


@check(
    "opened-limit",
    "opened may tell the longest message.",
    "max_message_bytes in bytes, or none",
    needs=_RESUMABLE,
)
async def limit_member(probe: Probe) -> Outcome:
    value = probe.facts.opened.get("max_message_bytes")
    return await _member(probe, "max_message_bytes", value is None or _is_count(value))


@check(
    "control-frame/data",
    "A frame with mcp.ws and jsonrpc is a message.",
    "the response to the request",
    needs=_RESUMABLE,
)
async def with_jsonrpc(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    answer = await conversation.request({**mcp.small(conversation.era, 40), "mcp.ws": "ping"})
    return passed(short(answer)) if mcp.is_taken(answer) else failed(short(answer))


@check(
    "control-frame/escaped",
    "A frame that escapes the name mcp.ws is a message, a malformed one.",
    "error -32600, and no pong",
    needs=_RESUMABLE,
)
async def escaped(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    await conversation.link.send(r'{"mcp\u002ews":"ping"}')
    reaction = await conversation.reaction()
    right = reaction.code() == -32600 and not any(
        frame["mcp.ws"] == "pong" for frame in conversation.controls
    )
    return passed(str(reaction)) if right else failed(str(reaction))


@check(
    "control-members", "Unknown members of control frames are ignored.", '{"mcp.ws":"pong"}', needs=_RESUMABLE
)
async def unknown_members(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    await conversation.link.send_json({"mcp.ws": "ping", "x-unknown": {"a": 1}})
    return passed(json.dumps(await conversation.control("pong")))


@check(
    "control-unknown/kind",
    "A control frame of an unknown kind ends the link.",
    "close 1002",
    needs=_RESUMABLE,
)
async def unknown_kind(probe: Probe) -> Outcome:
    return await _closes(probe, '{"mcp.ws":"dance"}', 1002)


@check(
    "control-unknown/shape",
    "A control frame of the wrong shape ends the link.",
    "close 1002",
    needs=_RESUMABLE,
)
async def wrong_shape(probe: Probe) -> Outcome:
    return await _closes(probe, '{"mcp.ws":"ack","recv":"one"}', 1002)


@check("control-ping", "ping is answered with pong.", '{"mcp.ws":"pong"}', needs=_RESUMABLE)
async def pong(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    await conversation.link.send_json({"mcp.ws": "ping"})
    return passed(json.dumps(await conversation.control("pong")))


@check("hello-first", "A link whose first frame is a message is closed.", "close 4400", needs=_RESUMABLE)
async def first_frame(probe: Probe) -> Outcome:
    link = await probe.link(subprotocols=(RESUME,))
    await link.send_json(mcp.small(probe.era, 1))
    closed = await link.end(probe.seconds)
    right = closed is not None and closed.code == 4400
    return passed(str(closed)) if right else failed(str(closed or "still open"))


@check(
    "hello-first/timeout",
    "A link without a first frame is closed.",
    f"close 4400 within {_HELLO:g} s",
    needs=_RESUMABLE,
    slow=_HELLO,
)
async def no_first_frame(probe: Probe) -> Outcome:
    link = await probe.link(subprotocols=(RESUME,))
    closed = await link.end(_HELLO)
    right = closed is not None and closed.code == 4400
    return passed(str(closed)) if right else failed(str(closed or f"still open after {_HELLO:g} s"))


@check(
    "control-resumed/count",
    "resumed carries the number of data frames that were received.",
    "recv, the number that was sent",
    needs=_RESUMABLE,
)
async def count(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    for _ in range(3):
        await conversation.small()
    conversation.link.abort(noted=True)
    resumed = await probe.again(conversation)
    came = f"recv {json.dumps(resumed.get('recv'))} after {conversation.sent} data frames"
    return passed(came) if resumed.get("recv") == conversation.sent else failed(came)


@check(
    "control-count",
    "Malformed messages count as well: whoever counts differently replays the wrong frames.",
    "recv, with the malformed message",
    needs=_RESUMABLE,
)
async def counts_malformed(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    await conversation.send("no JSON-RPC message")
    await conversation.small()
    conversation.link.abort(noted=True)
    resumed = await probe.again(conversation)
    came = f"recv {json.dumps(resumed.get('recv'))} after {conversation.sent} data frames"
    return passed(came) if resumed.get("recv") == conversation.sent else failed(came)


@check(
    "resume-replay",
    "What the client has not received is sent again, unchanged and in order.",
    "the same frames again",
    needs=_RESUMABLE,
)
async def replay(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    before = conversation.received
    for _ in range(4):
        await conversation.small()
    wanted = conversation.frames[-3:]
    conversation.link.abort(noted=True)
    await probe.again(conversation, count=before + 1)
    conversation.frames.clear()
    while len(conversation.frames) < 3 and isinstance(await conversation.data(probe.seconds), dict):
        pass
    if conversation.frames == wanted:
        return passed("3 frames, the same and in order")
    return failed(f"{len(conversation.frames)} frames: {' '.join(conversation.frames)[:200] or 'none'}")


@check("resume-secret", "The resume token cannot be guessed.", "256 random bits", needs=_RESUMABLE)
async def secret(probe: Probe) -> Outcome:
    tokens = [(await probe.talk(resumable=True)).token for _ in range(3)]
    if len(set(tokens)) < 3:
        return failed("two sessions have the same token")
    bits = min(len(token) * math.log2(max(len(set("".join(tokens))), 2)) for token in tokens)
    came = f"different tokens of at least {min(map(len, tokens))} characters"
    return passed(came) if bits >= 200 else failed(f"{came}: at most {bits:.0f} bits")


@check(
    "control-resume",
    "A session goes on after the loss of its link.",
    '{"mcp.ws":"resumed",…}, and requests are answered',
    needs=_RESUMABLE,
)
async def resumes(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    await conversation.small()
    conversation.link.abort(noted=True)
    await probe.again(conversation)
    await conversation.small()
    return passed("resumed, and the next request was answered")


@check("control-resumed/token", "resumed carries a new token.", "a new token", needs=_RESUMABLE)
async def new_token(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    first = conversation.token
    conversation.link.abort(noted=True)
    await probe.again(conversation)
    return passed("a new token") if conversation.token not in (first, "None") else failed("no new token")


@check(
    "resume-rotates/kept",
    "The presented token is good until the client's next frame, should resumed be lost.",
    '{"mcp.ws":"resumed",…} to the same token',
    needs=_RESUMABLE,
)
async def old_token_kept(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    await conversation.small()
    conversation.link.abort(noted=True)
    for _ in range(2):
        answer, closed = await _resume(probe, conversation.token, conversation.received)
        if answer.get("mcp.ws") != "resumed":
            return failed(f"{json.dumps(answer)}, then {closed}")
        probe.leave_last()
    return passed("resumed, twice with the same token")


@check(
    "resume-rotates/ended",
    "After the client's next frame the old token is worthless.",
    _GONE,
    needs=_RESUMABLE,
)
async def old_token_ended(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    old = conversation.token
    conversation.link.abort(noted=True)
    await probe.again(conversation)
    await conversation.small()
    return _is_gone(*await _resume(probe, old, conversation.received))


@check("resume-newest", "The newest link wins.", "close 4409 on the previous link", needs=_RESUMABLE)
async def newest(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    await conversation.small()
    previous = conversation.link
    await probe.again(conversation)
    closed = await previous.end(probe.seconds)
    await conversation.small()
    right = closed is not None and closed.code == 4409
    return passed(str(closed)) if right else failed(str(closed or "the previous link is still open"))


@check("control-gone", "A token that nobody was given is answered with gone.", _GONE, needs=_RESUMABLE)
async def gone(probe: Probe) -> Outcome:
    return _is_gone(*await _resume(probe, secrets.token_urlsafe(32), 0))


@check(
    "resume-gone",
    "Whoever tries tokens learns nothing: one that is wrong is answered like any other.",
    "the same gone for each wrong token",
    needs=_RESUMABLE,
)
async def same_gone(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    near = conversation.token[:-1] + ("A" if conversation.token[-1:] != "A" else "B")
    answers = [await _resume(probe, token, 0) for token in (near, secrets.token_urlsafe(32), "x", "")]
    seen = {json.dumps([frame, str(closed)], sort_keys=True) for frame, closed in answers}
    return passed(next(iter(seen))) if len(seen) == 1 else failed(" or ".join(sorted(seen)))


@check("resume-count", "A resume with an impossible count is answered with gone.", _GONE, needs=_RESUMABLE)
async def impossible(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    await conversation.small()
    conversation.link.abort(noted=True)
    return _is_gone(*await _resume(probe, conversation.token, conversation.received + 1000))


@check(
    "end-attempt",
    "A failed attempt to resume leaves the session as it is.",
    '{"mcp.ws":"resumed",…} to the right count',
    needs=_RESUMABLE,
)
async def attempt(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    await conversation.small()
    conversation.link.abort(noted=True)
    await _resume(probe, conversation.token, conversation.received + 1000)
    await probe.again(conversation)
    await conversation.small()
    return passed("resumed, and the next request was answered")


@check(
    "ack-often/frames",
    "Eight data frames are acknowledged.",
    'an {"mcp.ws":"ack",…} of at least eight',
    needs=_RESUMABLE,
    lenient=True,
)
async def acknowledges_frames(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    first = conversation.sent
    for _ in range(8):
        await conversation.send(mcp.small(conversation.era, next(conversation.ids)))
    return await _acknowledged(conversation, first + 8, probe.seconds / 2)


@check(
    "ack-often/second",
    "A single data frame is acknowledged within a second.",
    'an {"mcp.ws":"ack",…} within a second',
    needs=_RESUMABLE,
    lenient=True,
)
async def acknowledges_soon(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    await conversation.small()
    return await _acknowledged(conversation, conversation.sent, probe.seconds / 2)


async def _acknowledged(conversation: Conversation, count: int, seconds: float) -> Outcome:
    deadline = time.monotonic() + seconds
    latest = 0
    while latest < count:
        try:
            latest = (await conversation.control("ack", max(deadline - time.monotonic(), 0.001))).get(
                "recv", 0
            )
        except UnmetError:
            return failed(f"recv {latest} of {count} within {seconds:g} s")
    return (
        passed(f"ack of {latest}") if latest == count else failed(f"ack of {latest}, after {count} were sent")
    )


@check(
    "control-ack",
    "An ack frees what the sender kept; a later resume goes on from there.",
    "resumed",
    needs=_RESUMABLE,
)
async def frees(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    for _ in range(3):
        await conversation.small()
    await conversation.link.send_json({"mcp.ws": "ack", "recv": conversation.received})
    await conversation.small()
    conversation.link.abort(noted=True)
    answer, closed = await _resume(probe, conversation.token, 0)
    if answer.get("mcp.ws") == "gone":
        return passed("a resume below the acknowledged count was answered with gone")
    return warned(f"a resume below the acknowledged count was answered with {json.dumps(answer)}, {closed}")


@check("ack-count", "An ack of more than was sent ends the link.", "close 1002", needs=_RESUMABLE)
async def impossible_ack(probe: Probe) -> Outcome:
    return await _closes(probe, '{"mcp.ws":"ack","recv":1000000}', 1002)


@check("end-normal", "Close 1000 ends the session.", _GONE, needs=_RESUMABLE)
async def normal_end(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    await conversation.small()
    await conversation.link.close(1000, probe.seconds)
    return await _ends_with(probe, conversation)


@check(
    "end-error",
    "A frame that is not accepted ends the session: it can be neither skipped nor replayed.",
    _GONE,
    needs=_RESUMABLE,
)
async def end_by_error(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    await conversation.small()
    await conversation.link.send_frame(Opcode.BINARY, b"x")
    await conversation.link.end(probe.seconds)
    return await _ends_with(probe, conversation)


@check(
    "end-detached",
    "A close with 1001 leaves the session to be resumed.",
    '{"mcp.ws":"resumed",…}',
    needs=_RESUMABLE,
)
async def detached(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    await conversation.small()
    await conversation.link.close(1001, probe.seconds)
    await probe.again(conversation)
    await conversation.small()
    return passed("resumed, and the next request was answered")


@check(
    "once",
    "Each request is answered exactly once, over five lost links.",
    "20 responses in order, none twice",
    needs=_RESUMABLE,
)
async def once(probe: Probe) -> Outcome:
    conversation = await probe.talk(resumable=True)
    wanted: list[int] = []
    sent: list[dict[str, Any]] = []
    base = conversation.sent
    conversation.frames.clear()
    for _ in range(5):
        for _ in range(4):
            wanted.append(next(conversation.ids))
            sent.append(mcp.small(conversation.era, wanted[-1]))
            await conversation.send(sent[-1])
        await conversation.data(probe.seconds)
        conversation.link.abort(noted=True)
        resumed = await probe.again(conversation)
        for message in sent[int(resumed["recv"]) - base :]:
            await conversation.link.send_json(message)
    deadline = time.monotonic() + probe.seconds
    while len(conversation.frames) < len(wanted):
        if not isinstance(await conversation.data(deadline - time.monotonic()), dict):
            break
    await conversation.data(0.3)
    seen = [message["id"] for frame in conversation.frames if "method" not in (message := json.loads(frame))]
    if seen == wanted:
        return passed(f"{len(seen)} responses in order, none twice")
    return failed(f"responses {seen} for requests {wanted}")
