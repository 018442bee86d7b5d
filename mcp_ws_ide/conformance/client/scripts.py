"""The checks of a client: each is a script of the gateway."""

from __future__ import annotations

import json
import time
from typing import Any, Final

from websockets.frames import Opcode

from mcp_ws_ide.conformance.client.play import Play
from mcp_ws_ide.conformance.client.served import CALLS, RESUME, Served, answer, is_control
from mcp_ws_ide.conformance.verdicts import Checks, Outcome, UnmetError, failed, passed, warned
from mcp_ws_ide.conformance.wire import Closed

CLIENT: Final = Checks()
_RESUMABLE: Final = ("resumable",)
_ALL: Final = f"{CALLS} calls, and exit status 0"
NEEDS: Final = {"resumable": "it does not offer mcp.resume.v1"}
check = CLIENT.add


async def _to_the_end(play: Play, session: Served) -> Outcome:
    """Serve until the client leaves; it passes with all its calls and exit status 0."""
    await session.serve()
    ending = await play.ending()
    if ending:
        return failed(f"the command failed: {ending}")
    came = f"{session.calls} calls, and exit status 0"
    return passed(came) if session.calls == CALLS else failed(came)


@check("endpoint-upgrade", "The client makes its calls over a plain link.", _ALL)
async def plain(play: Play) -> Outcome:
    play.subprotocols = ("mcp",)
    return await _to_the_end(play, await play.session())


@check("subprotocol-mcp", "The client offers a subprotocol of MCP.", "mcp, or mcp.resume.v1 and mcp")
async def offers(play: Play) -> Outcome:
    await play.link()
    offer = play.offers[0]
    came = ", ".join(offer) or "nothing"
    if "mcp" in offer:
        return passed(came)
    return warned(f"{came}: endpoints that know mcp alone refuse it, or select nothing")


@check("frames-text", "Every message is one text message with one JSON-RPC 2.0 object.", "nothing else")
async def text(play: Play) -> Outcome:
    session = await play.session()
    await session.serve()
    if session.strange:
        return failed(f"{len(session.strange)} others, the first: {session.strange[0]}")
    return passed(f"{len(session.frames)} messages")


@check("frames-text/fragments", "A message in several frames is one message.", _ALL)
async def fragments(play: Play) -> Outcome:
    session = await play.session()
    call = await session.until_call(1)
    session.sent.append(json.dumps(answer(call)))
    raw = session.sent[-1].encode()
    await session.link.send_frame(Opcode.TEXT, raw[:10], end=False)
    await session.link.send_frame(Opcode.PING, b"between")
    await session.link.send_frame(Opcode.CONT, raw[10:])
    return await _to_the_end(play, session)


@check("liveness-pong", "A Ping is answered with a Pong that has its payload (RFC 6455).", "a Pong")
async def pong(play: Play) -> Outcome:
    session = await play.session()
    call = await session.until_call(1)
    came = await session.link.ping("conformance", play.seconds / 2)
    await session.send(answer(call))
    return passed("a Pong") if came else failed("no Pong")


@check("close-normal", "The client ends its session with close 1000.", "close 1000")
async def close(play: Play) -> Outcome:
    session = await play.session()
    await session.serve()
    ended = session.ended
    if ended is not None and ended.code == 1000:
        return passed(str(ended))
    if ended is not None and ended.code == 1001 and session.link.subprotocol != RESUME:
        return passed(str(ended))
    waits = "; a session that can be resumed then waits for it" if session.link.subprotocol == RESUME else ""
    return failed(f"{ended}{waits}") if waits else warned(str(ended))


@check("hello-first", "The first frame is open.", '{"mcp.ws":"open"}', needs=_RESUMABLE)
async def first(play: Play) -> Outcome:
    frame = await (await play.served()).hello()
    right = is_control(frame) and frame["mcp.ws"] == "open"
    return passed(json.dumps(frame)) if right else failed(json.dumps(frame)[:200])


@check(
    "hello-wait",
    "The client sends no message before it has received opened.",
    "silence until opened",
    needs=_RESUMABLE,
)
async def waits(play: Play) -> Outcome:
    session = await play.served()
    await session.hello()
    early = await session.next(0.5)
    if isinstance(early, dict):
        return failed(f"{json.dumps(early)[:200]} before opened")
    await session.opened()
    return await _to_the_end(play, session)


@check("control-members", "Unknown members of control frames are ignored.", _ALL, needs=_RESUMABLE)
async def members(play: Play) -> Outcome:
    session = await play.session(**{"x-unknown": {"a": [1]}})
    call = await session.until_call(1)
    await session.link.send_json({"mcp.ws": "ack", "recv": len(session.frames), "x-unknown": None})
    await session.send(answer(call))
    return await _to_the_end(play, session)


@check(
    "opened-limit",
    "opened without max_message_bytes is good enough, and with it too.",
    _ALL,
    needs=_RESUMABLE,
)
async def limit(play: Play) -> Outcome:
    return await _to_the_end(play, await play.session(max_message_bytes=10 << 20))


@check("control-ping", "ping is answered with pong.", '{"mcp.ws":"pong"}', needs=_RESUMABLE)
async def control_ping(play: Play) -> Outcome:
    session = await play.session()
    call = await session.until_call(1)
    await session.link.send_json({"mcp.ws": "ping"})
    came = await session.controlled("pong", play.seconds / 2)
    await session.send(answer(call))
    return passed("pong") if came else failed("no pong")


def _note(number: int) -> dict[str, Any]:
    params = {"level": "debug", "logger": "conformance", "data": f"message {number}"}
    return {"jsonrpc": "2.0", "method": "notifications/message", "params": params}


async def _acknowledged(session: Served, seconds: float) -> Outcome:
    end = time.monotonic() + seconds
    while session.acknowledged < len(session.sent) and time.monotonic() < end:
        await session.next(0.1)
    came = f"ack of {session.acknowledged} after {len(session.sent)} data frames"
    if session.acknowledged > len(session.sent):
        return failed(came)
    return (
        passed(came) if session.acknowledged == len(session.sent) else warned(f"{came}, within {seconds:g} s")
    )


@check(
    "control-frame",
    "A frame with jsonrpc is a message, whatever other members it has.",
    "an ack that counts it, and no pong",
    needs=_RESUMABLE,
)
async def with_jsonrpc(play: Play) -> Outcome:
    session = await play.session()
    await session.until_call(1)
    await session.send({**_note(1), "mcp.ws": "ping"})
    outcome = await _acknowledged(session, play.seconds / 4)
    if any(frame["mcp.ws"] == "pong" for frame in session.controls):
        return failed("pong")
    return outcome


@check("ack-often/frames", "Eight data frames are acknowledged.", "ack of all", needs=_RESUMABLE)
async def ack_frames(play: Play) -> Outcome:
    session = await play.session()
    await session.until_call(1)
    for number in range(8):
        await session.send(_note(number))
    return await _acknowledged(session, play.seconds / 4)


@check(
    "ack-often/second", "A single data frame is acknowledged within a second.", "ack of all", needs=_RESUMABLE
)
async def ack_second(play: Play) -> Outcome:
    session = await play.session()
    await session.until_call(1)
    await session.send(_note(1))
    return await _acknowledged(session, play.seconds / 4)


@check(
    "control-resume",
    "After the loss of its link the client resumes, with its token and the count of what it has received.",
    '{"mcp.ws":"resume","token":…,"recv":…}, and then all calls',
    needs=_RESUMABLE,
)
async def resumes(play: Play) -> Outcome:
    session = await play.session()
    await session.until_call(2)
    token = session.token
    session.link.abort(noted=True)
    await session.send(_note(1))  # while no link is up: it has to be sent again
    frame = await session.resumed(await play.link())
    wanted = len(session.sent) - 1
    if frame.get("token") != token or frame.get("recv") != wanted:
        return failed(
            f"recv {json.dumps(frame.get('recv'))}, with {wanted} received; "
            f"{'the right' if frame.get('token') == token else 'a wrong'} token"
        )
    await session.send(answer(json.loads(session.frames[-1])))
    return await _to_the_end(play, session)


@check(
    "ack-resumed", "The client acknowledges right after resumed.", "ack, before any message", needs=_RESUMABLE
)
async def ack_resumed(play: Play) -> Outcome:
    session = await play.session()
    await session.until_call(2)
    session.link.abort(noted=True)
    await session.resumed(await play.link())
    event = await session.link.receive(play.seconds / 2)
    frame = json.loads(event) if isinstance(event, str) else None
    came = event if isinstance(event, str) else str(event or "silence")
    right = frame is not None and is_control(frame) and frame["mcp.ws"] == "ack"
    return passed(came) if right else failed(came[:200])


@check(
    "resume-replay",
    "What the gateway has not received is sent again, unchanged.",
    "the same frame again",
    needs=_RESUMABLE,
)
async def replays(play: Play) -> Outcome:
    session = await play.session()
    await session.until_call(2)
    lost = session.frames[-1]
    session.link.abort(noted=True)
    session.calls -= 1
    await session.resumed(await play.link(), received=len(session.frames) - 1)
    message = await session.next()
    if not isinstance(message, dict) or session.frames[-1] != lost:
        return failed(f"{json.dumps(message)[:200] if isinstance(message, dict) else message or 'silence'}")
    await session.send(answer(message))
    return await _to_the_end(play, session)


@check("once", "What the gateway has received is not sent again.", "no call twice", needs=_RESUMABLE)
async def once(play: Play) -> Outcome:
    session = await play.session()
    for number in range(1, CALLS + 1):
        call = await session.until_call(number)
        session.link.abort(noted=True)
        await session.resumed(await play.link())
        early = await session.next(0.3)
        if isinstance(early, dict) and early == call:
            return failed(f"call {number} came again")
        await session.send(answer(call))
    return await _to_the_end(play, session)


@check(
    "control-resumed", "The client presents the token of the last resumed.", "the new token", needs=_RESUMABLE
)
async def new_token(play: Play) -> Outcome:
    session = await play.session()
    await session.until_call(1)
    session.link.abort(noted=True)
    await session.resumed(await play.link())
    await session.controlled("ack", play.seconds / 2)  # with which the old token ends
    token = session.token
    session.link.abort(noted=True)
    frame = await session.resumed(await play.link())
    return passed("the new token") if frame.get("token") == token else failed("another token")


@check(
    "resume-rotates",
    "A client whose link breaks before resumed presents the same token again.",
    "the same token",
    needs=_RESUMABLE,
)
async def same_token(play: Play) -> Outcome:
    session = await play.session()
    call = await session.until_call(1)
    session.link.abort(noted=True)
    interrupted = Served(await play.link(), play.seconds)
    frame = await interrupted.hello()
    interrupted.link.abort(noted=True)
    again = await session.resumed(await play.link())
    if again.get("token") != frame.get("token"):
        return failed("another token")
    await session.send(answer(call))
    return await _to_the_end(play, session)


@check(
    "control-gap",
    "A gap adds to the count of received data frames.",
    "recv, with the 3 dropped",
    needs=_RESUMABLE,
)
async def gap(play: Play) -> Outcome:
    session = await play.session()
    await session.until_call(1)
    await session.link.send_json({"mcp.ws": "gap", "dropped": 3})
    session.sent.extend(["{}"] * 3)
    await session.link.send_json({"mcp.ws": "ping"})
    await session.controlled("pong", play.seconds / 2)  # it has taken in what came before
    session.link.abort(noted=True)
    frame = await session.resumed(await play.link())
    came = f"recv {json.dumps(frame.get('recv'))}, with {len(session.sent)} received or dropped"
    return passed(came) if frame.get("recv") == len(session.sent) else failed(came)


@check(
    "end-detached",
    "A close with 1001 is no end: the client resumes.",
    "resume, and then all calls",
    needs=_RESUMABLE,
)
async def going_away(play: Play) -> Outcome:
    session = await play.session()
    call = await session.until_call(1)
    await session.link.close(1001, play.seconds)
    await session.resumed(await play.link())
    await session.send(answer(call))
    return await _to_the_end(play, session)


@check(
    "control-gone",
    "After gone the client does not try the session again, and does not wait for ever.",
    "no further resume; the command ends, or opens a new session",
    needs=_RESUMABLE,
)
async def gone(play: Play) -> Outcome:
    session = await play.session()
    await session.until_call(2)
    session.link.abort(noted=True)
    attempt = Served(await play.link(), play.seconds)
    await attempt.hello()
    await attempt.link.send_json({"mcp.ws": "gone", "reason": "unknown"})
    await attempt.link.close(4404, play.seconds)
    try:
        further = await play.served()
    except UnmetError as error:
        return failed(str(error)) if play.running else passed("the command ended")
    frame = await further.hello()
    if frame is None and not further.link.open:  # the program ended while its client began a new session
        await play.ending()
        return failed("a link with nothing on it") if play.running else passed("the command ended")
    right = is_control(frame) and frame["mcp.ws"] == "open"
    return passed("a new session") if right else failed(json.dumps(frame)[:200])


@check(
    "window-client",
    "The client sends nothing while a full window is unacknowledged.",
    "at most one data frame without an ack, with a window of one",
    needs=_RESUMABLE,
    lenient=True,
)
async def window(play: Play) -> Outcome:
    session = await play.session(frames=1)
    acknowledged = 0
    while not isinstance(message := await session.next(), Closed):
        if message is None:
            return failed("silence")
        early = await session.next(0.2)
        if isinstance(early, dict) and len(session.frames) > acknowledged + 1:
            return failed(f"{len(session.frames) - acknowledged} data frames without an ack")
        acknowledged = len(session.frames)
        await session.acknowledge()
        if "id" in message and "method" in message:
            await session.send(answer(message))
    return passed("never more than one")
