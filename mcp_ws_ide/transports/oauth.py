"""OAuth for remote servers (MCP 2025-11-25 and 2026-07-28, basic/authorization): obtains, keeps and sends tokens.

The flow itself (discovery, registration, PKCE, refresh, step-up) is the SDK's ``OAuthClientProvider``, imported once
a server needs it. This module adds what a gateway needs: whose token it is, where it is kept, which user is asked for
authorization and which requests wait. Requests do not pass through the provider, which allows only one at a time; it
runs only after a challenge. Knows nothing of JSON-RPC, or of the handler that receives the browser's answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, urlsplit

import httpx2
import msgspec

from mcp_ws_ide.config.spec import ServerSpec, is_confidential_url
from mcp_ws_ide.core import messages
from mcp_ws_ide.errors import TransportError
from mcp_ws_ide.private_files import PrivateJsonFile, UnreadableFileError
from mcp_ws_ide.proxy_environment import proxy_for
from mcp_ws_ide.tasks import TaskGroupOwner
from mcp_ws_ide.transports.addresses import addresses_of, inner_of
from mcp_ws_ide.transports.client_document import CLIENT_DOCUMENT
from mcp_ws_ide.transports.oauth_clients import new_provider
from mcp_ws_ide.transports.remote import (
    ERROR_BYTES,
    AuthorizationMissingError,
    RequestFailedError,
    check_coding,
    new_client,
    origin,
    peer_address,
    read_body,
    send_to,
)

ANSWER_TIMEOUT: Final = 30.0
"""Seconds for each response of an authorization server, and for the challenge of the MCP server."""
SDK_LOGGER: Final = "mcp.client.auth"
"""Parent of the loggers of the SDK's flow."""
MAX_PAGE_URL: Final = 8192
"""Longest URL of an authorization page, in characters."""

_ERROR: Final = re.compile(r"[a-z_]{1,60}")
_SCOPE_VALUE: Final = re.compile(r'\bscope="?([^",]*)')
_SCOPE_PARAMETER: Final = re.compile(r'\bscope="?[^",]*"?\s*,?\s*')

for _name in ("oauth2", "utils"):  # it logs responses that it cannot parse, secrets included
    if logging.getLogger(f"{SDK_LOGGER}.{_name}").level == logging.NOTSET:
        logging.getLogger(f"{SDK_LOGGER}.{_name}").setLevel(logging.CRITICAL + 1)

log = logging.getLogger(__name__)


class _StoredAuthorization(msgspec.Struct):
    """One file. The members up to ``settings`` say for which configuration the others are valid."""

    server: str
    principal: str
    url: str
    settings: str
    """Digest of the configured client and scope."""
    redirect_uri: str
    """Redirect URI with which the client was registered."""
    tokens: dict[str, Any] | None = None
    client: dict[str, Any] | None = None
    """Result of the client registration; None for a configured client."""
    metadata: dict[str, Any] | None = None
    """Metadata of the authorization server (RFC 8414), which a refresh needs."""
    resource: dict[str, Any] | None = None
    """Metadata of the MCP server as a protected resource (RFC 9728)."""


class _Storage:
    """The SDK's ``TokenStorage`` over one private file."""

    def __init__(self, path: Path, fresh: _StoredAuthorization, client: Mapping[str, Any] | None) -> None:
        self._file = PrivateJsonFile(path, _StoredAuthorization)
        self._client = client
        self.stored = self._load(fresh)
        self.context: Any = None
        """Context of the running provider; its discoveries are stored with the tokens."""

    def _load(self, fresh: _StoredAuthorization) -> _StoredAuthorization:
        """Return what is stored, if it was stored for the same server, principal and configuration as ``fresh``."""
        try:
            stored = self._file.read()
        except UnreadableFileError as error:
            log.error("a stored authorization is lost, so the gateway must be authorized again: %s", error)
            return fresh
        names = ("server", "principal", "url", "settings")
        same = stored is not None and all(getattr(stored, name) == getattr(fresh, name) for name in names)
        return stored if stored is not None and same else fresh

    def _save(self) -> None:
        directory = self._file.path.parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        self._file.write(self.stored)

    @property
    def access_token(self) -> str:
        """The stored access token; ``""`` if there is none."""
        return str((self.stored.tokens or {}).get("access_token", ""))

    async def get_tokens(self) -> Any:
        """Return the stored tokens, or None."""
        from mcp.shared.auth import OAuthToken

        return None if self.stored.tokens is None else OAuthToken.model_validate(self.stored.tokens)

    async def set_tokens(self, tokens: Any) -> None:
        """Store tokens, and what a refresh needs."""
        self.stored.tokens = _dump(tokens)
        self.stored.metadata = _dump(self.context.oauth_metadata)
        self.stored.resource = _dump(self.context.protected_resource_metadata)
        self._save()

    async def get_client_info(self) -> Any:
        """Return the configured client, else the registered one, else None."""
        from mcp.shared.auth import OAuthClientInformationFull

        client = self._client or self.stored.client
        return None if client is None else OAuthClientInformationFull.model_validate(client)

    async def set_client_info(self, client_info: Any) -> None:
        """Store a registration for later authorizations."""
        self.stored.client = _dump(client_info)
        self._save()


def _dump(model: Any) -> dict[str, Any] | None:
    return None if model is None else dict(model.model_dump(mode="json", exclude_none=True))


class Owner(Protocol):
    """The authorizations of a gateway, as one of them sees it.

    Attributes:
        directory: directory of the private files.
        timeout: seconds to wait for a user to authorize.
        tasks: owns the flows.
    """

    directory: Path
    timeout: float
    tasks: TaskGroupOwner

    @property
    def redirect_uri(self) -> str:
        """URL to which authorization servers send the browser back."""

    @property
    def client_document_url(self) -> str | None:
        """Where authorization servers can read who the gateway is; None if they cannot."""

    def where(self, name: str) -> str:
        """Return the REST URL that shows a user the authorization page of a server."""

    def expect(self, state: str, authorization: Authorization) -> None:
        """Register an authorization whose browser will return with ``state``."""

    def forget(self, authorization: Authorization) -> None:
        """Stop expecting the browser of an authorization."""


class Authorization:
    """One principal's authorization at one server: the token, and at most one flow that obtains a new one.

    Implements :class:`~mcp_ws_ide.transports.base.Authorizer`.

    Args:
        owner: owns the tasks and the pages that wait for users.
        spec: the server; its ``oauth`` is not None.
        principal: owner of the token, which is sent only with this principal's requests.
    """

    def __init__(self, owner: Owner, spec: ServerSpec, principal: str) -> None:
        self._owner, self.spec, self.principal = owner, spec, principal
        self._settings = dict(spec.oauth or {})
        self._redirect_uri = owner.redirect_uri
        url = str(spec.url)
        digest = hashlib.sha256(msgspec.json.encode(sorted(self._settings.items()))).hexdigest()
        fresh = _StoredAuthorization(spec.name, principal, url, digest, self._redirect_uri)
        name = hashlib.sha256(f"{spec.name}\0{principal}".encode()).hexdigest()[:40]
        self._storage = _Storage(owner.directory / f"{name}.json", fresh, self._configured_client())
        self._flow: asyncio.Task[str] | None = None
        self._answer: asyncio.Future[Mapping[str, str]] | None = None
        self._refusal = ""
        self._accepted = False
        self._peer = ""
        """The address from which the server last asked for a token; ``""`` if it is not known."""
        self.page: str | None = None
        """URL of the page where the user is to authorize, while the flow waits for it."""
        self.page_expires = 0.0
        """When the flow stops waiting for that page, in seconds since the epoch."""

    def _configured_client(self) -> dict[str, Any] | None:
        if "client_id" not in self._settings:
            return None
        secret = self._settings.get("client_secret")
        return {
            "client_id": self._settings["client_id"],
            "client_secret": secret,
            "redirect_uris": [self._redirect_uri],
            "token_endpoint_auth_method": "client_secret_basic" if secret else "none",
        }

    @property
    def authorized(self) -> bool:
        """Whether the server has accepted the token or requires none, and no page waits for the user."""
        return self._accepted and self.page is None

    # --- requests -------------------------------------------------------------------------------

    async def send(self, client: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Response:
        """Send a request with the token; after a challenge, send it again with a new one.

        Raises:
            AuthorizationMissingError: the server requires an authorization, and none was given in time.
        """
        used = self._sign(request)
        response = await client.send(request, stream=True)
        # Ending a session is not worth asking a user.
        if not self._is_refused(response) or request.method == "DELETE":
            return response
        await response.aclose()
        await self._renew(used, response)
        self._sign(request)
        return await client.send(request, stream=True)

    async def prepare(self, client: httpx2.AsyncClient, request: httpx2.Request) -> None:
        """Send a harmless request, and obtain a token if the server requires one.

        Raises:
            AuthorizationMissingError: no authorization was given in time.
        """
        used = self._sign(request)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                response = await client.send(request, stream=True)
                refused = self._is_refused(response)
                await response.aclose()
        except TimeoutError:
            return
        if refused:
            await self._renew(used, response)

    def _is_refused(self, response: httpx2.Response) -> bool:
        refused = _is_challenge(response)
        self._accepted = not refused
        if refused:
            self._peer = peer_address(response) if proxy_for(str(self.spec.url)) is None else ""
        return refused

    def _sign(self, request: httpx2.Request) -> str:
        token = self._storage.access_token
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
        return token

    async def _renew(self, refused: str, challenge: httpx2.Response) -> None:
        """Return once the stored token is no longer the refused one.

        All requests wait for the same flow. It continues when they stop waiting, because the user may be on its page.
        """
        if self._storage.access_token != refused:
            return
        if self._flow is None or self._flow.done():
            self._flow = self._owner.tasks.spawn(self._run(challenge), f"authorize {self.spec.name}")
        flow = self._flow
        await asyncio.wait([flow])
        reason = "the gateway is shutting down" if flow.cancelled() else flow.result()
        if reason:
            raise AuthorizationMissingError(f"server {self.spec.name!r} is not authorized; {reason}")
        self._accepted = True

    # --- the flow -------------------------------------------------------------------------------

    async def _run(self, challenge: httpx2.Response) -> str:
        """Obtain a token; return why there is none, or ``""``."""
        self._refusal = ""
        try:
            await self._drive(challenge)
        except (RequestFailedError, TransportError) as failure:
            return str(failure)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            return f"the request to the authorization server failed: {type(error).__name__}"
        except Exception as error:  # of the SDK; its messages quote responses
            log.debug("server %s: the authorization failed with %s", self.spec.name, type(error).__name__)
            detail = f" ({self._refusal})" if self._refusal else ""
            reason = _FLOW_FAILURES.get(
                type(error).__name__, "the authorization server's responses cannot be used"
            )
            return f"{reason}{detail}"
        finally:
            self._unpublish()
        log.info("server %s: authorized", self.spec.name)
        return ""

    async def _drive(self, challenge: httpx2.Response) -> None:
        """Run the provider's flow on a challenge already received, until it would send the request again."""
        # The version makes the provider request a token for this server only (RFC 8707).
        request = httpx2.Request(
            "POST", str(self.spec.url), headers={"MCP-Protocol-Version": messages.NEWEST_HANDSHAKE}
        )
        before = self._storage.access_token
        stepping_up = challenge.status_code == 403
        if stepping_up:
            self._check_scope(challenge)
        provider = self._provider(stale=not stepping_up)
        async with self._client() as client, aclosing(provider.async_auth_flow(request)) as flow:
            outgoing = await anext(flow)
            while True:
                if outgoing is not request:
                    response = await self._request(client, outgoing)
                elif self._storage.access_token != before:
                    return
                else:
                    self._check_registration()
                    response = self._repeated(challenge, request)
                outgoing = await flow.asend(response)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx2.AsyncClient]:
        """Return a client for authorization servers, without the configured headers; it lives as long as the flow."""
        async with new_client({}, self.spec.ca_file, httpx2.Timeout(ANSWER_TIMEOUT)) as client:
            yield client

    def _check_scope(self, challenge: httpx2.Response) -> None:
        """Refuse a challenge for more than the configured scope: asking the user again would change nothing."""
        wanted = _SCOPE_VALUE.search(challenge.headers.get("www-authenticate", ""))
        configured = self._settings.get("scope", "").split()
        if configured and not set(wanted[1].split() if wanted else [""]) <= set(configured):
            reason = "it requires more than the configured scope; extend or remove mcp_ws.oauth.scope"
            raise RequestFailedError(reason, sent=False)

    def _provider(self, *, stale: bool) -> Any:
        """Return the SDK's provider, with what is already known.

        Args:
            stale: whether the token itself was refused, rather than its scopes, to which a refresh adds nothing.
        """
        storage = self._storage
        provider = new_provider(
            str(self.spec.url),
            self._settings,
            storage,
            self._redirect_uri,
            self._publish,
            self._answered,
            self._owner.client_document_url,
        )
        from mcp.shared.auth import OAuthMetadata, ProtectedResourceMetadata

        storage.context = context = provider.context
        if storage.stored.metadata is not None:
            context.oauth_metadata = OAuthMetadata.model_validate(storage.stored.metadata)
            # The token was refused whatever the clock says; otherwise it would not be refreshed. Without metadata, the
            # refresh would go to a guessed address.
            context.token_expiry_time = 1.0 if stale else None
        if storage.stored.resource is not None:
            resource = ProtectedResourceMetadata.model_validate(storage.stored.resource)
            context.protected_resource_metadata = resource
            context.auth_server_url = str(resource.authorization_servers[0])
        return provider

    def _check_registration(self) -> None:
        """Drop what can refresh, but not authorize: a registration with another redirect URI (the port has changed),
        or a document that is no longer published."""
        storage = self._storage
        client_id = str((storage.stored.client or {}).get("client_id", ""))
        withdrawn = client_id.endswith(f"/{CLIENT_DOCUMENT}") and client_id != self._owner.client_document_url
        if withdrawn or storage.stored.redirect_uri != self._redirect_uri:
            storage.stored.redirect_uri, storage.stored.client = self._redirect_uri, None
            if "client_id" not in self._settings:
                storage.context.client_info = None

    def _repeated(self, challenge: httpx2.Response, request: httpx2.Request) -> httpx2.Response:
        """Return the challenge with the configured scope instead of the one that the server names."""
        value = challenge.headers.get("www-authenticate", "")
        if scope := self._settings.get("scope"):
            value = f'Bearer scope="{scope}", {_SCOPE_PARAMETER.sub("", value).partition(" ")[2]}'
        headers = {"WWW-Authenticate": value}
        return httpx2.Response(challenge.status_code, headers=headers, request=request)

    async def _request(self, client: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Response:
        """Send one request to the authorization server, or for metadata; bounded in time and size."""
        if not is_confidential_url(str(request.url)):
            reason = f"{origin(request.url)} is not an https URL, so no secret is sent there"
            raise RequestFailedError(reason, sent=False)
        if request.method == "POST":
            self._check_issuer()
        request.headers["Accept-Encoding"] = "identity"
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                addresses = await addresses_of(request.url.host)
                await self._check_addresses(request.url, addresses)
                response = await send_to(client, request, addresses)
                try:
                    check_coding(response)
                    body = await read_body(response, ERROR_BYTES, ANSWER_TIMEOUT)
                finally:
                    await response.aclose()
        except TimeoutError:
            reason = f"{origin(request.url)} did not answer within {ANSWER_TIMEOUT:g} s"
            raise RequestFailedError(reason, sent=False) from None
        if body is None:
            reason = f"{origin(request.url)} answered with more than {ERROR_BYTES} bytes"
            raise RequestFailedError(reason, sent=False)
        self._refusal = _refusal_of(response.status_code, body)
        headers = [
            (name, value) for name, value in response.headers.multi_items() if name.lower() not in _FRAMING
        ]
        answer = httpx2.Response(response.status_code, headers=headers, content=body, request=request)
        answer.next_request = response.next_request
        return answer

    async def _check_addresses(self, url: httpx2.URL, addresses: list[str]) -> None:
        """Refuse an address within this machine or its network, unless the server itself has such an address.

        The server names these URLs: it must not make the gateway ask what the server cannot reach. Its own address is
        the one that the connection to it had, where that is known.
        """
        inner = inner_of(addresses)
        if inner is None:
            return
        own = [self._peer] if self._peer else await addresses_of(urlsplit(str(self.spec.url)).hostname or "")
        if inner_of(own) is not None:
            return
        reason = (
            f"it names {origin(url)} ({inner}), which is not a public address although its own is; "
            "nothing is sent there"
        )
        raise RequestFailedError(reason, sent=False)

    def _check_issuer(self) -> None:
        """Refuse to send credentials to an authorization server other than the configured one.

        Without a configured issuer, a configured secret goes only to the one that it was first used with.
        """
        context, stored = self._storage.context, self._storage.stored.metadata or {}
        known = stored.get("issuer", "") if "client_secret" in self._settings else ""
        wanted = self._settings.get("issuer") or str(known)
        named = str(context.auth_server_url or origin(httpx2.URL(str(self.spec.url))))
        if wanted and named.rstrip("/") != wanted.rstrip("/"):
            reason = f"it names the authorization server {named}; expected {wanted} (mcp_ws.oauth.issuer)"
            raise RequestFailedError(reason, sent=False)

    # --- the page -------------------------------------------------------------------------------

    async def _publish(self, page: str) -> None:
        """Publish the page where the user is to authorize; the SDK's ``redirect_handler``."""
        state = parse_qs(urlsplit(page).query).get("state", [""])[0]
        if not is_confidential_url(page) or not state or len(page) > MAX_PAGE_URL:
            raise RequestFailedError("the authorization page is not at a usable https URL", sent=False)
        self._check_issuer()
        self._choose_client_authentication()
        self._answer = asyncio.get_running_loop().create_future()
        self.page, self.page_expires = page, time.time() + self._owner.timeout
        self._owner.expect(state, self)
        log.warning(
            "server %s needs an authorization; open the page in authorization.url of %s within %g s",
            self.spec.name,
            self._owner.where(self.spec.name),
            self._owner.timeout,
        )

    def _choose_client_authentication(self) -> None:
        """Use a form if the server accepts only that, although RFC 6749 requires every server to accept Basic."""
        context = self._storage.context
        if "client_secret" not in self._settings or context.oauth_metadata is None:
            return
        supported = context.oauth_metadata.token_endpoint_auth_methods_supported or ["client_secret_basic"]
        if "client_secret_basic" not in supported and "client_secret_post" in supported:
            context.client_info.token_endpoint_auth_method = "client_secret_post"  # noqa: S105 - a method, not a secret

    async def _answered(self) -> Any:
        """Return the parameters that the browser brought back; the SDK's ``callback_handler``."""
        from mcp.client.auth import AuthorizationCodeResult

        assert self._answer is not None
        try:
            async with asyncio.timeout(self._owner.timeout):
                answer = await self._answer
        except TimeoutError:
            limit = f"{self._owner.timeout:g} s (oauth_timeout)"
            cure = (
                f"call again, then open the page in authorization.url of {self._owner.where(self.spec.name)}"
            )
            raise RequestFailedError(
                f"the user did not authorize it within {limit}; {cure}", sent=False
            ) from None
        finally:
            self._unpublish()
        if "code" not in answer:
            error = answer.get("error", "")
            shown = error if _ERROR.fullmatch(error) else "no code"
            raise RequestFailedError(f"the authorization was not granted ({shown})", sent=False)
        return AuthorizationCodeResult(code=answer["code"], state=answer.get("state"), iss=answer.get("iss"))

    def _unpublish(self) -> None:
        self.page = None
        self._owner.forget(self)

    def take(self, answer: Mapping[str, str]) -> None:
        """Take the parameters that the browser brought back."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(dict(answer))


def _is_challenge(response: httpx2.Response) -> bool:
    """Return whether a response asks for a token (RFC 6750, section 3), or for one with more scopes (403)."""
    if response.status_code == 403:
        return "insufficient_scope" in response.headers.get("www-authenticate", "")
    return response.status_code == 401


def _refusal_of(status: int, body: bytes) -> str:
    """Return status and error code of a refusal (RFC 6749, section 5.2); nothing else of it may be shown."""
    if status < 400:
        return ""
    try:
        error = msgspec.json.decode(body, type=_Error).error
    except (msgspec.DecodeError, RecursionError):
        error = ""
    return f"{status} {error}".strip() if _ERROR.fullmatch(error) else str(status)


class _Error(msgspec.Struct):
    error: str = ""


_FRAMING: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_FLOW_FAILURES: Final = {
    "OAuthRegistrationError": "the authorization server registered no client; configure a client_id that it knows",
    "OAuthTokenError": "the authorization server issued no token",
    "OAuthFlowError": "the server's metadata about its authorization server is inconsistent",
}
