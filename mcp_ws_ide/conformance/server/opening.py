"""Checks of sections 1 and 2: the endpoint, and the subprotocol."""

from __future__ import annotations

import secrets

from mcp_ws_ide.conformance.server.conversation import RESUME, parsed
from mcp_ws_ide.conformance.server.registry import check
from mcp_ws_ide.conformance.server.target import Probe, unpadded
from mcp_ws_ide.conformance.verdicts import Outcome, failed, not_applicable, passed, warned
from mcp_ws_ide.conformance.wire import Link, Refused


def _selected(answer: Link | Refused) -> str:
    return str(answer) if isinstance(answer, Refused) else f"101, subprotocol {answer.subprotocol or 'none'}"


@check("endpoint-upgrade", "A GET with Upgrade: websocket opens a WebSocket.", "101")
async def opens(probe: Probe) -> Outcome:
    answer = await probe.handshake()
    return passed("101") if isinstance(answer, Link) else failed(str(answer))


@check("endpoint-spelling/slash", "A trailing slash of the URL makes no difference.", "101", lenient=True)
async def slash(probe: Probe) -> Outcome:
    path = probe.target.parts.path
    if path in ("", "/"):
        return not_applicable("the URL has no path")
    answer = await probe.handshake(
        url=probe.target.with_path(path.rstrip("/") + ("" if path.endswith("/") else "/"))
    )
    return passed("101") if isinstance(answer, Link) else failed(str(answer))


@check("endpoint-spelling/escape", "A percent escape in the path makes no difference.", "101", lenient=True)
async def escape(probe: Probe) -> Outcome:
    head, separator, name = probe.target.parts.path.rstrip("/").rpartition("/")
    if not name or "%" in name:
        return not_applicable("the path ends with no plain name")
    escaped = f"{head}{separator}%{ord(name[0]):02x}{name[1:]}"
    answer = await probe.handshake(url=probe.target.with_path(escaped))
    return passed("101") if isinstance(answer, Link) else failed(str(answer))


async def _elsewhere(probe: Probe) -> Link | Refused:
    head, separator, _ = probe.target.parts.path.rstrip("/").rpartition("/")
    return await probe.handshake(
        url=probe.target.with_path(f"{head}{separator or '/'}none-{secrets.token_hex(4)}")
    )


@check("endpoint-404", "An unknown server is refused with 404, before any upgrade.", "HTTP 404")
async def unknown_server(probe: Probe) -> Outcome:
    answer = await _elsewhere(probe)
    if isinstance(answer, Link):
        return failed("101: a client believes that it has reached a server")
    if answer.status == 404:
        return passed("HTTP 404")
    return warned(f"{answer}: refused, but a client cannot tell that the name is wrong")


@check(
    "endpoint-refusal",
    "A refusal is a JSON-RPC error that repeats its reason in message and status.",
    'a body {"jsonrpc": "2.0", "id": null, "error": …, "message": …, "status": …}',
    lenient=True,
)
async def refusal(probe: Probe) -> Outcome:
    answer = await _elsewhere(probe)
    if isinstance(answer, Link):
        return not_applicable("nothing was refused")
    body = parsed(answer.body.decode(errors="replace"))
    if not isinstance(body, dict):
        return failed("the body is no JSON object")
    error = body.get("error")
    reason = error.get("message") if isinstance(error, dict) else None
    right = body.get("jsonrpc") == "2.0" and body.get("id", "") is None and reason is not None
    if right and body.get("message") == reason and body.get("status") == answer.status:
        return passed("a JSON-RPC error with message and status")
    return failed(f"a JSON object with the members {', '.join(body) or 'none'}")


@check(
    "endpoint-challenge",
    "A 401 carries WWW-Authenticate: Bearer.",
    "WWW-Authenticate: Bearer …",
    needs=("token",),
)
async def challenge(probe: Probe) -> Outcome:
    answer = await probe.handshake(headers={})
    if isinstance(answer, Link) or answer.status != 401:
        return not_applicable(f"no 401: {_selected(answer)}")
    challenge = answer.headers.get("www-authenticate")
    if challenge is None:
        return failed("401 without WWW-Authenticate")
    bearer = challenge.lower().startswith("bearer")
    return (
        passed(f"WWW-Authenticate: {challenge[:100]}")
        if bearer
        else warned(f"WWW-Authenticate: {challenge[:100]}")
    )


@check(
    "endpoint-405",
    "A GET that is neither an upgrade nor an event stream names what is possible.",
    "HTTP 405 with Upgrade: websocket and Allow: POST",
    lenient=True,
)
async def plain_get(probe: Probe) -> Outcome:
    answer = await probe.get(probe.target.http_url, probe.credential())
    upgrade, allow = answer.headers.get("upgrade", ""), answer.headers.get("allow", "")
    said = f"HTTP {answer.status_code}, Upgrade: {upgrade or 'missing'}, Allow: {allow or 'missing'}"
    if answer.status_code in (405, 426) and "websocket" in upgrade.lower():
        return passed(said)
    return failed(said)


@check(
    "subprotocol-order",
    "mcp.resume.v1 is selected, wherever in the offer it stands.",
    "101, subprotocol mcp.resume.v1",
    needs=("resumable",),
)
async def order(probe: Probe) -> Outcome:
    answer = await probe.handshake(subprotocols=("mcp", RESUME))
    right = isinstance(answer, Link) and answer.subprotocol == RESUME
    return passed(_selected(answer)) if right else failed(_selected(answer))


@check("subprotocol-mcp", "mcp is selected where it is offered.", "101, subprotocol mcp")
async def plain(probe: Probe) -> Outcome:
    answer = await probe.handshake(subprotocols=("mcp",))
    if isinstance(answer, Link) and answer.subprotocol is None:
        return warned("101, subprotocol none: browsers end such a connection, since they have offered one")
    right = isinstance(answer, Link) and answer.subprotocol == "mcp"
    return passed(_selected(answer)) if right else failed(_selected(answer))


@check(
    "subprotocol-version",
    "The first mcp.version.* is selected where neither mcp.resume.v1 nor mcp is offered.",
    "101, subprotocol mcp.version.2025-11-25",
    lenient=True,
)
async def version(probe: Probe) -> Outcome:
    first = "mcp.version.2025-11-25"
    answer = await probe.handshake(subprotocols=(first, "mcp.version.2025-06-18"))
    right = isinstance(answer, Link) and answer.subprotocol == first
    return passed(_selected(answer)) if right else failed(_selected(answer))


@check(
    "subprotocol-jupyter",
    "v1.token.websocket.jupyter.org is selected where nothing else is offered.",
    "101, subprotocol v1.token.websocket.jupyter.org",
    lenient=True,
)
async def jupyter(probe: Probe) -> Outcome:
    name = "v1.token.websocket.jupyter.org"
    answer = await probe.handshake(subprotocols=(name,))
    if isinstance(answer, Refused):
        return not_applicable(f"{answer}: it is no part of a Jupyter")
    right = isinstance(answer, Link) and answer.subprotocol == name
    return passed(_selected(answer)) if right else failed(_selected(answer))


@check("subprotocol-none", "A client that offers nothing gets no subprotocol.", "101, subprotocol none")
async def nothing(probe: Probe) -> Outcome:
    answer = await probe.handshake(subprotocols=())
    right = isinstance(answer, Link) and answer.subprotocol is None
    return passed(_selected(answer)) if right else failed(_selected(answer))


@check("subprotocol-unknown", "A client that offers only unknown ones is refused.", "HTTP 400")
async def unknown(probe: Probe) -> Outcome:
    answer = await probe.handshake(subprotocols=("unknown.example",))
    if isinstance(answer, Link):
        if answer.subprotocol is None:
            return warned("101, subprotocol none: the client has to find out by itself")
        return failed(f"101, subprotocol {answer.subprotocol}: the endpoint agrees to what it does not know")
    if answer.status == 101:
        return failed(str(answer))
    return passed("HTTP 400") if answer.status == 400 else warned(str(answer))


@check(
    "subprotocol-token",
    "An entry that carries a token is never selected, so that no log of responses has it.",
    "101, subprotocol mcp",
)
async def token_entry(probe: Probe) -> Outcome:
    entry = f"mcp.auth.{unpadded(probe.target.token or 'conformance')}"
    answer = await probe.handshake(subprotocols=(entry, "mcp"))
    if isinstance(answer, Refused):
        return failed(str(answer)) if answer.status == 101 else warned(str(answer))
    if answer.subprotocol == entry:
        return failed("101, and the entry with the token is selected")
    return passed(_selected(answer))
