"""Checks of section 3: credentials, Origin and Host."""

from __future__ import annotations

import secrets
from ipaddress import ip_address
from urllib.parse import quote

from mcp_ws_ide.conformance.server.registry import check
from mcp_ws_ide.conformance.server.target import Probe, unpadded
from mcp_ws_ide.conformance.verdicts import Outcome, failed, not_applicable, passed, warned
from mcp_ws_ide.conformance.wire import Link, Refused

FOREIGN: str = "evil.example"
"""A host that no endpoint trusts (RFC 2606)."""
_JUPYTER = "v1.token.websocket.jupyter.org"


def _wrong() -> str:
    return f"wrong-{secrets.token_hex(8)}"


def _let_in(answer: Link | Refused) -> Outcome:
    return passed("101") if isinstance(answer, Link) else failed(str(answer))


def _kept_out(answer: Link | Refused, status: int) -> Outcome:
    if isinstance(answer, Link):
        return failed("101: it was let in")
    if answer.status == status:
        return passed(f"HTTP {status}")
    if answer.status == 101 or 300 <= answer.status < 400:
        return failed(str(answer))
    return warned(f"{answer}: refused, with another status")


@check("credential-header/bearer", "Authorization: Bearer T lets a client in.", "101", needs=("token",))
async def bearer(probe: Probe) -> Outcome:
    headers = {**probe.target.headers, "Authorization": f"Bearer {probe.target.token}"}
    return _let_in(await probe.handshake(headers=headers))


@check(
    "credential-header/token",
    "Authorization: token T lets a client in.",
    "101",
    needs=("token",),
    lenient=True,
)
async def token(probe: Probe) -> Outcome:
    headers = {**probe.target.headers, "Authorization": f"token {probe.target.token}"}
    return _let_in(await probe.handshake(headers=headers))


@check(
    "credential-subprotocol",
    "The subprotocol mcp.auth.B lets in a client that cannot send headers.",
    "101, subprotocol mcp",
    needs=("token",),
)
async def subprotocol(probe: Probe) -> Outcome:
    offer = ("mcp", f"mcp.auth.{unpadded(probe.target.token or '')}")
    return _let_in(await probe.handshake(subprotocols=offer, headers=probe.target.headers))


@check(
    "credential-jupyter",
    "The subprotocol v1.token.websocket.jupyter.org.T lets in a client of Jupyter.",
    "101",
    needs=("token",),
    lenient=True,
)
async def jupyter(probe: Probe) -> Outcome:
    if not (probe.target.token or "").isascii():
        return not_applicable("the token does not fit into a subprotocol")
    offer = ("mcp", f"{_JUPYTER}.{probe.target.token}")
    return _let_in(await probe.handshake(subprotocols=offer, headers=probe.target.headers))


@check("credential-query", "?token=T lets a client in.", "101", needs=("token",), lenient=True)
async def query(probe: Probe) -> Outcome:
    given = probe.target.parts.query
    url = probe.target.parts._replace(
        query=f"{given}{'&' if given else ''}token={quote(probe.target.token or '')}"
    )
    return _let_in(await probe.handshake(url=url.geturl(), headers=probe.target.headers))


@check("credential-401/missing", "Without a credential, a client is refused.", "HTTP 401", needs=("token",))
async def missing(probe: Probe) -> Outcome:
    return _kept_out(await probe.handshake(headers={}), 401)


@check("credential-401/wrong", "With a wrong credential, a client is refused.", "HTTP 401", needs=("token",))
async def wrong(probe: Probe) -> Outcome:
    return _kept_out(await probe.handshake(headers={"Authorization": f"Bearer {_wrong()}"}), 401)


@check(
    "credential-order",
    "The first credential is the one that counts: a wrong header is not mended by a subprotocol.",
    "HTTP 401",
    needs=("token",),
)
async def order(probe: Probe) -> Outcome:
    offer = ("mcp", f"mcp.auth.{unpadded(probe.target.token or '')}")
    headers = {"Authorization": f"Bearer {_wrong()}"}
    return _kept_out(await probe.handshake(subprotocols=offer, headers=headers), 401)


@check(
    "credential-redirect",
    "A client without a credential is not sent to a login page.",
    "no 3xx",
    needs=("token",),
)
async def redirect(probe: Probe) -> Outcome:
    headers = {"Accept": "text/html,*/*"}
    for answer in (await probe.handshake(headers=headers), await probe.get(probe.target.http_url, headers)):
        status = answer.status if isinstance(answer, Refused) else getattr(answer, "status_code", 101)
        if 300 <= status < 400:
            return failed(f"HTTP {status} to {answer.headers.get('location', 'nowhere')}")  # type: ignore[union-attr]
    return passed("neither the handshake nor a GET was redirected")


@check(
    "origin-foreign",
    "A page of a foreign origin is refused, even with a valid credential: it would act for the user.",
    "HTTP 403",
)
async def foreign(probe: Probe) -> Outcome:
    headers = {**probe.credential(), "Origin": f"https://{FOREIGN}"}
    return _kept_out(await probe.handshake(headers=headers), 403)


@check("origin-foreign/own", "A page of the endpoint's own origin is let in.", "101")
async def own(probe: Probe) -> Outcome:
    return _let_in(await probe.handshake(headers={**probe.credential(), "Origin": probe.target.origin}))


@check(
    "origin-fetch-site",
    "A request from another site that hides its Origin is refused.",
    "HTTP 403",
    lenient=True,
)
async def fetch_site(probe: Probe) -> Outcome:
    headers = {**probe.credential(), "Sec-Fetch-Site": "cross-site"}
    return _kept_out(await probe.handshake(headers=headers), 403)


@check(
    "host-rebinding",
    "Where no credential is needed, a foreign Host is refused: DNS rebinding makes a page's host this one.",
    "HTTP 403",
)
async def rebinding(probe: Probe) -> Outcome:
    parts = probe.target.parts
    if probe.credential():
        return not_applicable("the endpoint was given a credential")
    if probe.target.secure or not _is_loopback(parts.hostname or ""):
        return not_applicable("it is reached neither in clear text nor on this machine alone")
    port = parts.port or 80
    url = parts._replace(netloc=f"{FOREIGN}:{port}").geturl()
    return _kept_out(await probe.handshake(url=url, headers={}, host=(parts.hostname or "", port)), 403)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
