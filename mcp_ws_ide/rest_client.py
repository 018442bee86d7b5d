"""A synchronous client of a gateway's REST interface and of its tap."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, Final, ParamSpec, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from mcp_ws_ide.core.binding import TAP_SUBPROTOCOL
from mcp_ws_ide.core.intermediaries import KINDS, SENDS, TEST, of_status
from mcp_ws_ide.discovery import RunningGateway, find_gateway, undecided_gateways, websocket_url
from mcp_ws_ide.errors import ConnectError, UnauthorizedError
from mcp_ws_ide.proxy_environment import proxy_for, route, untrusted, via
from mcp_ws_ide.tokens import TOKEN_PREFIX

TIMEOUT: Final = 15.0
"""Seconds for one REST call."""
MAX_RECORDS_BYTES: Final = 64 << 20
LONG_BODY: Final = 10 << 20
"""Bytes that a request may have by default (``max_message_bytes``)."""
LENGTH_TIMEOUT: Final = 0.5
"""Seconds within which a proxy refuses a length; one that accepts it waits for the body."""
ERROR_BYTES: Final = 10_000
"""Bytes that are read of the body of an error."""
LOOKUP_TIMEOUT: Final = 3.0
"""Seconds within which a gateway must list its servers when several are running."""


_P = ParamSpec("_P")
_T = TypeVar("_T")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects, which would carry the token elsewhere; the gateway never sends one."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _open(request: urllib.request.Request, timeout: float) -> Any:
    """Send a request, through a proxy only where :func:`route` allows it.

    Raises:
        ConnectError: the proxy cannot be used, or would see the credential unencrypted.
    """
    url = request.full_url
    proxy = route(url, dict(request.header_items()), "urllib")
    handler = urllib.request.ProxyHandler({} if proxy is None else {urlsplit(url).scheme: proxy})
    return urllib.request.build_opener(_NoRedirect, handler).open(request, timeout=timeout)


def _is_ours(body: bytes) -> bool:
    """Return whether the body of an error has the gateway's format."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(answer, dict) and {"message", "status"} <= answer.keys()


class GatewayClient:
    """Calls one gateway.

    Methods raise :class:`UnauthorizedError` or :class:`ConnectError`.
    """

    def __init__(self, gateway: RunningGateway, timeout: float = TIMEOUT) -> None:
        self._gateway = gateway
        self._timeout = timeout

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Make one REST call below ``mcp-ws/api/``; return its JSON object, ``{}`` for an empty response."""
        data = None if body is None else json.dumps(body).encode()
        url = f"{self._gateway.url}mcp-ws/api/{path}"
        request = urllib.request.Request(url, data, self._headers(), method=method)  # noqa: S310 - http(s) only
        try:
            with _open(request, self._timeout) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            raise self.refused(error.code, error.read(ERROR_BYTES)) from None
        except (urllib.error.URLError, TimeoutError, OSError) as error:
            raise self._unreachable(getattr(error, "reason", error)) from None
        try:
            answer: dict[str, Any] = json.loads(text or b"{}")
        except ValueError:
            raise ConnectError(
                f"{url} does not answer with JSON; check that it is a Jupyter server"
            ) from None
        return answer

    def instances(self) -> list[dict[str, Any]]:
        """Return the gateways that share the engine of this one (docs/reference/rest.md), this one included; none if it
        stores no sessions outside its machine."""
        found: list[dict[str, Any]] = self.call("GET", "instances")["instances"]
        return found

    @property
    def has_gateway_token(self) -> bool:
        """Whether the credential opens servers only, and not the REST interface."""
        return self._gateway.token.startswith(TOKEN_PREFIX)

    def blocked_handshake(self) -> str:
        """Try a WebSocket handshake that the gateway answers with 200 in place of 101.

        Returns:
            A code of :mod:`mcp_ws_ide.core.intermediaries` if something else answers; ``""`` if all is well, or if the
            gateway names the reason itself.
        """
        try:
            next(self.records(**{TEST: "1"}), None)
        except ConnectError as error:
            return error.noticed or ("" if error.by_gateway else "websocket_blocked")
        return ""

    def refused_length(self) -> str:
        """Ask whether a request of :data:`LONG_BODY` bytes would pass, by its head only, which is never continued.

        Returns:
            ``body_limit`` if something before the gateway refuses it; ``""`` otherwise.
        """
        url = f"{self._gateway.url}mcp-ws/api/network"
        parts = urlsplit(url)
        if proxy_for(url) is not None:
            return ""
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        with closing(kind(parts.netloc.rpartition("@")[2], timeout=self._timeout)) as connection:
            try:
                connection.connect()
                connection.sock.settimeout(LENGTH_TIMEOUT)
                connection.request(
                    "POST",
                    f"{parts.path}?{TEST}=1",
                    headers={**self._headers(), "Content-Length": str(LONG_BODY)},
                )
                response = connection.getresponse()
                ours = _is_ours(response.read(ERROR_BYTES))
            except (OSError, http.client.HTTPException):
                return ""  # nothing refused it at once
        return "body_limit" if response.status == 413 and not ours else ""

    def inject_fault(self, session: str, fault: str, **parameters: Any) -> str:
        """Inject a fault into the link of a session; return a description of what was done.

        Args:
            fault: ``cut``, ``half_open`` (seconds), ``delay`` (ms, seconds), ``duplicate`` (count) or
                ``refuse_resume`` (how: ``gone`` or ``later``, count); see docs/guides/test-reconnecting.md.
        """
        answer = self.call("POST", f"sessions/{quote(session)}/faults", {"fault": fault, **parameters})
        return str(answer.get("detail", fault))

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        return {**headers, **self._credential()}

    def _credential(self, *sent: str) -> dict[str, str]:
        """Return the credential's header, and the list of headers that a proxy may remove."""
        if not self._gateway.token:
            return {SENDS: ", ".join(sent)} if sent else {}
        return {
            "Authorization": f"token {self._gateway.token}",
            SENDS: ", ".join((*sent, "authorization")),
        }

    def _unreachable(self, reason: object) -> ConnectError:
        detail = getattr(reason, "strerror", None) or reason
        cure = untrusted(str(reason)) or "; check that Jupyter is running at this address"
        return ConnectError(f"{self._gateway.url} cannot be reached{via(self._gateway.url)}: {detail}{cure}")

    def refused(self, status: int, body: bytes) -> ConnectError:
        """Return the error for an HTTP status; it names the hop that answered."""
        url = self._gateway.url
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError):
            parsed = None
        answer = parsed if isinstance(parsed, dict) else {}
        message, ours = str(answer.get("message", "")), _is_ours(body)
        jupyters = "message" in answer or b"jupyter" in body.lower()
        if status in (401, 403):
            if status == 401:  # what follows the reason is the cure for HTTP clients
                message = message.partition(";")[0]
            other = "" if ours or jupyters else " (something other than Jupyter may have answered)"
            reason = f"{message or 'no credential'}{other}{via(url)}"
            refused: ConnectError = UnauthorizedError(
                f"{url} refused ({status}): {reason}; {self._credential_hint}"
            )
            refused.by_gateway = ours
            return refused
        if status == 404 and not ours and (jupyters or not body):
            return ConnectError(
                f"{url} has no MCP gateway; check that mcp-ws-ide is installed in that server's environment and "
                "enabled (`jupyter server extension list` there)"
            )
        if not ours:
            return self._not_ours(status, message, jupyters)
        refused = ConnectError(f"{url} answered {status}: {message}")
        refused.by_gateway = True
        return refused

    def _not_ours(self, status: int, message: str, jupyters: bool) -> ConnectError:
        who = "Jupyter, not its gateway," if jupyters else "something other than the gateway"
        noticed = None if jupyters else of_status(status)
        cure = "check the address, and the proxies on the way"
        if noticed:
            cure = KINDS[noticed[0]].cure
        elif jupyters:
            cure = "check the address; the log of that Jupyter has more"
        url = self._gateway.url
        error = ConnectError(
            f"{url}: {who} answered {status}{via(url)}: {message or 'no reason given'}; {cure}"
        )
        error.noticed = noticed[0] if noticed else ""
        return error

    @property
    def _credential_hint(self) -> str:
        if self._gateway.withheld:
            return f"{self._gateway.withheld}; give a token with --token-file"
        if self.has_gateway_token:
            return (
                "a gateway token does not open REST; give Jupyter's token with --token-file or JUPYTER_TOKEN"
            )
        return "give a token with --token-file, JUPYTER_TOKEN or MCP_WS_TOKEN"

    def attached(self) -> dict[str, Any]:
        """Return the first record of the tap, whose ``instance`` identifies the feed; proves access to the tap."""
        with closing(self.records()) as records:
            greeting: dict[str, Any] = json.loads(next(records))
            return greeting

    def records(self, **filters: str | None) -> Generator[str]:
        """Yield tap records as JSON text until the gateway closes the link."""
        from websockets.sync.client import connect  # mcp-ws-connect asks REST, and needs no tap

        query = urlencode({key: value for key, value in filters.items() if value})
        url = websocket_url(self._gateway, f"api/tap{'?' + query if query else ''}")
        headers = self._credential("sec-websocket-protocol")
        try:
            with connect(
                url,
                subprotocols=[TAP_SUBPROTOCOL],  # type: ignore[list-item]  # a NewType of str
                additional_headers=headers,
                max_size=MAX_RECORDS_BYTES,
                compression=None,
                proxy=route(url, headers, "websockets"),
            ) as link:
                for text in link:
                    yield from str(text).split("\n")
        except InvalidStatus as error:
            raise self.refused(error.response.status_code, bytes(error.response.body or b"")) from None
        except ConnectionClosed as error:
            raise ConnectError(f"the gateway closed the tap: {error}") from None
        except (OSError, WebSocketException) as error:
            raise self._unreachable(error) from None


def gateway_with(
    server: str,
    url: str | None = None,
    token: str | None = None,
    token_file: str | None = None,
    environ: Mapping[str, str] = os.environ,
    cure: str = "choose one with --url",
) -> RunningGateway:
    """Return the gateway to use for a server; parameters and errors as of :func:`find_gateway`.

    Where several gateways are running and the environment does not tell which one is meant, it is the one that has the
    server.

    Args:
        cure: how the caller's user names a gateway.

    Raises:
        ConnectError: more than one has it.
    """
    candidates = [] if url is not None else undecided_gateways(environ)
    with ThreadPoolExecutor(max(1, len(candidates))) as pool:
        answers = list(pool.map(lambda gateway: _has(gateway, server, environ), candidates))
    having = [gateway for gateway, has in zip(candidates, answers, strict=True) if has]
    if len(having) > 1:
        listed = "; ".join(f"{g.url} (pid {g.pid}, {g.root_dir or 'unknown directory'})" for g in having)
        raise ConnectError(f"several running gateways have a server {server!r}; {cure}: {listed}")
    return find_gateway(having[0].url if having else url, token, token_file, environ)


def _has(gateway: RunningGateway, server: str, environ: Mapping[str, str]) -> bool:
    """Return whether a gateway has a server, or each member of a group ``+a+b``; False if it does not answer."""
    try:
        asked = find_gateway(gateway.url, environ=environ)
        answer = GatewayClient(asked, LOOKUP_TIMEOUT).call("GET", "servers")
        names = {entry["name"] for entry in answer["servers"]}
    except (ConnectError, KeyError, TypeError):
        return False
    return set(server.strip("+").split("+") if server.startswith("+") else [server]) <= names


async def in_thread(call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """As :func:`asyncio.to_thread`, but a gateway that hangs does not keep the process from exiting."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[_T] = loop.create_future()

    def run() -> None:
        result, error = None, None
        try:
            result = call(*args, **kwargs)
        except Exception as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # nothing waits any more: the loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    def settle(result: Any, error: Exception | None) -> None:
        if outcome.done():  # cancelled
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)

    threading.Thread(target=run, daemon=True, name=f"gateway {call.__name__}").start()
    return await outcome


def get_json(url: str, headers: dict[str, str]) -> dict[str, Any]:
    """Return a JSON object from a server other than a gateway, such as a hub; redirects are not followed.

    Raises:
        ConnectError: the server refuses, cannot be reached, or answers with something else.
    """
    request = urllib.request.Request(url, None, headers)  # noqa: S310 - http(s) only
    try:
        with _open(request, TIMEOUT) as response:
            answer = json.loads(response.read())
    except urllib.error.HTTPError as error:
        kind = UnauthorizedError if error.code in (401, 403) else ConnectError
        raise kind(f"{url} answered {error.code}: {error.reason}") from None
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        raise ConnectError(f"{url} cannot be reached: {getattr(error, 'reason', error)}{via(url)}") from None
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ConnectError(f"{url} does not answer with a JSON object")
    return answer
