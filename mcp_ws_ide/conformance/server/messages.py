"""Checks of section 7: the two eras, and what is each session's own."""

from __future__ import annotations

import json
import time
from typing import Any

from mcp_ws_ide.conformance import mcp
from mcp_ws_ide.conformance.server.conversation import Conversation, short
from mcp_ws_ide.conformance.server.registry import check
from mcp_ws_ide.conformance.server.target import Probe
from mcp_ws_ide.conformance.verdicts import (
    NotReachedError,
    Outcome,
    UnmetError,
    failed,
    not_applicable,
    passed,
    warned,
)

_MODERN_ERRORS = frozenset({-32020, -32021, -32022})
_QUIET = 0.5
"""Seconds without a message that count as silence."""
_CANCELLED = 3.0
"""Seconds in which a call that was not cancelled would be complete."""


@check(
    "era-fallback",
    "A client of either era finds out which era to speak.",
    "a result of server/discover, or error -32601",
)
async def fallback(probe: Probe) -> Outcome:
    conversation = await probe.session("modern")
    try:
        answer = await conversation.small()
    except UnmetError as error:
        return failed(f"{error}: a client has to wait until its patience ends")
    if "result" in answer:
        return passed("a result of server/discover")
    code = mcp.error_code(answer)
    if code in _MODERN_ERRORS:
        return failed(f"{short(answer)}: clients take the server for a modern one")
    return passed(short(answer)) if code == -32601 else warned(short(answer))


@check(
    "era-request",
    "A probe of the modern era, and then initialize, work on one link.",
    "a result of initialize",
)
async def both(probe: Probe) -> Outcome:
    if "handshake" not in probe.facts.eras:
        return not_applicable("it answers no initialize")
    conversation = await probe.session("modern")
    await conversation.send(mcp.small("modern", "probe"))
    answer = await conversation.request(mcp.initialize(2))
    return passed("a result of initialize") if "result" in answer else failed(short(answer))


async def _with_id(probe: Probe, value: Any) -> Outcome:
    conversation = await probe.talk()
    await conversation.send(mcp.small(conversation.era, value))
    while isinstance(answer := await conversation.data(probe.seconds), dict):
        if "id" in answer and "method" not in answer:
            came = json.dumps(answer["id"], ensure_ascii=False)
            right = mcp.is_response(answer, value)
            return (
                passed(f"id {came}")
                if right
                else failed(f"id {came}: no client can pair it with its request")
            )
    return failed(f"no response: {answer or 'silence'}")


@check("id-verbatim/text", "An id that is a text comes back as it is.", 'id "request-é"')
async def text_id(probe: Probe) -> Outcome:
    return await _with_id(probe, "request-é")


@check("id-verbatim/digits", 'An id that is a text of digits stays a text: "12" is not 12.', 'id "12"')
async def digits_id(probe: Probe) -> Outcome:
    return await _with_id(probe, "12")


@check("id-verbatim/zero", "0 is an id.", "id 0")
async def zero_id(probe: Probe) -> Outcome:
    return await _with_id(probe, 0)


@check(
    "id-verbatim/large",
    "An integer beyond 2^53 comes back as it is.",
    "id 9007199254740993",
    lenient=True,
)
async def large_id(probe: Probe) -> Outcome:
    return await _with_id(probe, 9007199254740993)


@check(
    "isolation/ids",
    "Two links may use the same id at the same time; each gets its own response, once.",
    "one response on each link",
)
async def same_ids(probe: Probe) -> Outcome:
    one, two = await probe.talk(), await probe.talk()
    for conversation in (one, two):
        await conversation.send(mcp.small(conversation.era, 77))
    for conversation in (one, two):
        await conversation.response(77)
    extra = [await conversation.data(_QUIET) for conversation in (one, two)]
    more = [short(item) for item in extra if isinstance(item, dict) and "method" not in item]
    return failed(f"a further response: {', '.join(more)}") if more else passed("one response on each link")


async def _progress(probe: Probe, conversation: Conversation, token: Any) -> tuple[list[Any], Any]:
    """Call the tool that reports progress; return the notifications and the response."""
    tool, arguments = probe.target.progress_tool or "", probe.target.progress_arguments
    number = next(conversation.ids)
    await conversation.send(mcp.call(conversation.era, number, tool, arguments, progressToken=token))
    seen: list[Any] = []
    deadline = time.monotonic() + 2 * probe.seconds
    while isinstance(message := await conversation.data(deadline - time.monotonic()), dict):
        if mcp.is_response(message, number):
            return seen, message
        if message.get("method") == "notifications/progress":
            seen.append(message.get("params", {}))
    raise UnmetError(f"the call of {tool} got no response: {message or 'silence'}")


@check(
    "progress-token",
    "Progress names the token of its request, with its type, and comes before the response.",
    'progress with the token "7"',
    needs=("progress",),
)
async def progress_token(probe: Probe) -> Outcome:
    seen, answer = await _progress(probe, await probe.talk(), "7")
    if not seen:
        return failed(f"no progress before {short(answer)}")
    tokens = {json.dumps(params.get("progressToken")) for params in seen}
    came = f"{len(seen)} notifications with the token {', '.join(sorted(tokens))}"
    return passed(came) if tokens == {'"7"'} else failed(came)


@check(
    "isolation/progress",
    "Progress reaches the session that asked for it, and no other.",
    "silence on the other link",
    needs=("progress",),
)
async def others_progress(probe: Probe) -> Outcome:
    other = await probe.talk()
    await _progress(probe, await probe.talk(), "of the first link")
    stray = await other.data(_QUIET)
    if not isinstance(stray, dict):
        return passed("silence on the other link")
    return failed(f"the other link got {json.dumps(stray)[:200]}")


@check(
    "cancel-id",
    "A cancellation stops the request that it names, and the link goes on.",
    "no response with a result, and then the response to the next request",
    needs=("progress",),
)
async def cancel(probe: Probe) -> Outcome:
    conversation = await probe.talk()
    tool, arguments = probe.target.progress_tool or "", probe.target.progress_arguments
    number = next(conversation.ids)
    await conversation.send(mcp.call(conversation.era, number, tool, arguments, progressToken=number))
    first = await conversation.data(probe.seconds)
    if not isinstance(first, dict) or first.get("method") != "notifications/progress":
        raise NotReachedError("the call reported no progress, so that it cannot be cancelled while it runs")
    params = {"requestId": number, "reason": "conformance"}
    await conversation.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})
    provoked = probe.exchange.point
    await conversation.small()
    probe.exchange.point = provoked
    while isinstance(message := await conversation.data(_CANCELLED), dict):
        if mcp.is_response(message, number) and "result" in message:
            return failed(f"{short(message)}: the call ran to its end")
        if mcp.is_response(message, number):
            break
    return passed("the call was not completed, and the next request was answered")


@check(
    "subscription-id",
    "The acknowledgement of a subscription names its request.",
    'a notification with subscriptionId "s-1"',
    needs=("modern",),
)
async def subscription(probe: Probe) -> Outcome:
    conversation = await probe.talk(era="modern")
    wanted = {"notifications": {"toolsListChanged": True}}
    await conversation.send(mcp.request("modern", "s-1", "subscriptions/listen", wanted))
    message = await conversation.data(probe.seconds)
    if mcp.error_code(message) == -32601:
        return not_applicable("the server has no subscriptions")
    meta = message.get("params", {}).get("_meta", {}) if isinstance(message, dict) else {}
    came = json.dumps(meta.get(mcp.SUBSCRIPTION_KEY))
    right = meta.get(mcp.SUBSCRIPTION_KEY) == "s-1"
    return passed(f"subscriptionId {came}") if right else failed(f"subscriptionId {came} in {short(message)}")


@check(
    "shared-initialize",
    "initialize with the _meta of the modern era is refused: that era has no handshake.",
    "error -32601",
    needs=("modern",),
    lenient=True,
)
async def modern_initialize(probe: Probe) -> Outcome:
    conversation = await probe.session("modern")
    params = mcp.initialize(0)["params"]
    answer = await conversation.request(mcp.request("modern", 1, "initialize", params))
    return passed(short(answer)) if mcp.error_code(answer) == -32601 else failed(short(answer))
