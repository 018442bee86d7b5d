"""The OAuth protocol: Authlib's authorization server over this package's clients and approvals.

One :class:`SignInServer` serves one HTTP request, because the issuer is the address that the client has dialled.
Importing this module takes a tenth of a second, so that is done when somebody signs in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec
from authlib.oauth2 import AuthorizationServer, JsonRequest, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, RefreshTokenGrant
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7591 import (
    ClientMetadataClaims,
    ClientRegistrationEndpoint,
    InvalidClientMetadataError,
    InvalidRedirectURIError,
)
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc9207 import IssuerParameter

from mcp_ws_ide.signin.answers import Answer, RefusedError
from mcp_ws_ide.signin.approvals import Approval, Approvals
from mcp_ws_ide.signin.clients import GRANTS, BadClientError, Client, problem_of
from mcp_ws_ide.signin.registrations import Registrations
from mcp_ws_ide.tokens import GatewayToken

MAX_PARAMETERS: Final = 64
"""Parameters that a request may have."""

_ANY_URI: Final = "https://gateway.invalid/"
"""Authlib refuses plain http here; whether Jupyter is reached in a safe way is its operator's decision, as for its
login."""

logging.getLogger("authlib").setLevel(logging.CRITICAL + 1)  # at DEBUG it logs the tokens that it issues


class InvalidTargetError(OAuth2Error):
    """The resource is not one that is served here, or not the one of the authorization (RFC 8707 section 2)."""

    error = "invalid_target"


class _Payload:
    """The parameters of a request; those without a value count as missing (RFC 6749 section 3.1)."""

    def __init__(self, encoded: str) -> None:
        pairs = parse_qsl(encoded, max_num_fields=MAX_PARAMETERS)
        self.data: dict[str, str] = {}
        self.datalist: dict[str, list[str]] = {}
        for name, value in pairs:
            self.data.setdefault(name, value)
            self.datalist.setdefault(name, []).append(value)

    def __getattr__(self, name: str) -> str | None:
        return self.data.get(name)

    @property
    def repeated(self) -> str:
        """The name of a parameter that occurs more than once, ``""`` if there is none."""
        return next((name for name, values in self.datalist.items() if len(values) > 1), "")


class _Request(OAuth2Request):
    def __init__(self, method: str, encoded: str) -> None:
        super().__init__(method, _ANY_URI)
        self.payload = _Payload(encoded)

    @property
    def form(self) -> dict[str, str]:
        data: dict[str, str] = self.payload.data
        return data


class _JsonRequest(JsonRequest):
    def __init__(self, data: dict[str, object]) -> None:
        super().__init__("POST", _ANY_URI)
        self.payload = type("JsonBody", (), {"data": data})()


class _Stored:
    """An approval as Authlib sees it: as an authorization code, or as a token."""

    def __init__(self, token: GatewayToken) -> None:
        assert token.sign_in is not None
        self.token, self.sign_in = token, token.sign_in

    @property
    def code_challenge(self) -> str:
        return self.sign_in.challenge

    @property
    def code_challenge_method(self) -> str:
        return "S256"

    def get_redirect_uri(self) -> str:
        return self.sign_in.redirect_uri

    def get_scope(self) -> str:
        return self.sign_in.scope

    def check_client(self, client: Client) -> bool:
        return self.sign_in.client_id == client.id


class _S256(CodeChallenge):
    """PKCE that no client can leave out or weaken (RFC 9700 section 2.1.1)."""

    SUPPORTED_CODE_CHALLENGE_METHOD: Final = ["S256"]

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        data = grant.request.payload.data
        if "code_challenge" not in data or data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("code_challenge is required, with the code_challenge_method S256")
        super().validate_code_challenge(grant, redirect_uri)


class _CodeGrant(AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS: Final = ["none"]

    def save_authorization_code(self, code: str, request: Any) -> None:
        data = request.payload.data
        self.server.approvals.approve(
            request.user, request.client, code, data["redirect_uri"], data["code_challenge"], request.scope
        )

    def query_authorization_code(self, code: str, client: Client) -> _Stored | None:
        token = self.server.approvals.of_code(code)
        return None if token is None else _usable(_Stored(token), self.request, client)

    def delete_authorization_code(self, authorization_code: _Stored) -> None:
        """Keep the code: its second use must be noticed."""

    def authenticate_user(self, authorization_code: _Stored) -> str:
        return authorization_code.token.principal


class _RefreshGrant(RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS: Final = ["none"]
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> _Stored | None:
        client = self.server.query_client(self.request.payload.client_id)
        token = self.server.approvals.of_refresh_token(refresh_token, client.id)
        return None if token is None else _usable(_Stored(token), self.request, client)

    def authenticate_user(self, refresh_token: _Stored) -> str:
        return refresh_token.token.principal

    def revoke_old_credential(self, refresh_token: _Stored) -> None:
        """Do nothing: the new refresh token has replaced it."""


def _usable(stored: _Stored, request: Any, client: Client) -> _Stored | None:
    """Return what is stored if it belongs to this client.

    Raises:
        InvalidTargetError: the request is for another resource.
    """
    if not stored.check_client(client):
        return None
    wanted = request.payload.data.get("resource", "")
    if wanted and wanted.rstrip("/") != stored.sign_in.resource.rstrip("/"):
        raise InvalidTargetError("resource is not the one of the authorization")
    return stored


class _Revocation(RevocationEndpoint):
    CLIENT_AUTH_METHODS: Final = ["none"]

    def check_params(self, request: Any, client: Client) -> None:
        if "token" not in request.form:
            raise InvalidRequestError("token is missing")

    def query_token(self, token_string: str, token_type_hint: str | None) -> _Stored | None:
        token = self.server.approvals.of_secret(token_string)
        return None if token is None else _Stored(token)

    def revoke_token(self, token: _Stored, request: Any) -> None:
        self.server.approvals.revoke(token.token)


class _Metadata(ClientMetadataClaims):
    def validate_redirect_uris(self) -> None:
        """Accept what this server accepts: also schemes of applications, which have no host (RFC 8252)."""
        for uri in self.get("redirect_uris") or ():
            if (problem := problem_of(uri)) is not None:
                raise InvalidRedirectURIError(f"a redirect URI cannot be used: {_plain(problem)}")


class _Registration(ClientRegistrationEndpoint):
    """Registers public clients; what a client asks for beyond is corrected (RFC 7591 section 3.2.1)."""

    def __init__(self, registrations: Registrations) -> None:
        super().__init__(None, [_Metadata])
        self._registrations = registrations

    def authenticate_token(self, request: Any) -> bool:
        """Let anybody register."""
        return True

    def get_server_metadata(self) -> dict[str, object]:
        return {}

    def extract_client_metadata(self, request: Any) -> dict[str, object]:
        asked = super().extract_client_metadata(request)
        grants = asked.get("grant_types", GRANTS)
        kept = ("redirect_uris", "client_name", "client_uri", "logo_uri", "scope")
        return {
            **{name: asked[name] for name in kept if asked.get(name) is not None},
            "grant_types": [name for name in GRANTS if name == GRANTS[0] or name in grants],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        }

    def generate_client_info(self, request: Any) -> dict[str, object]:
        return {}

    def save_client(self, client_info: object, client_metadata: dict[str, object], request: Any) -> Client:
        try:
            return self._registrations.register(client_metadata)
        except BadClientError as error:
            raise InvalidClientMetadataError(_plain(str(error))) from None

    def generate_client_registration_info(self, client: Client, request: Any) -> dict[str, object]:
        return {"client_id": client.id}


class _Issuer(IssuerParameter):
    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def get_issuer(self) -> str:
        return self._issuer

    def add_issuer_parameter(self, authorization_server: Any, response: Answer) -> None:
        """Name the issuer in a response to the client, and put the code last.

        VS Code in a browser (1.139) searches for ``&code=`` or ``?code=`` in the parameters, which stand there without
        their ``?``.
        """
        super().add_issuer_parameter(authorization_server, response)
        if response.location:
            parts = urlsplit(response.location)
            parameters = sorted(parts.query.split("&"), key=lambda parameter: parameter.startswith("code="))
            response.location = parts._replace(query="&".join(parameters)).geturl()


def _plain(text: str) -> str:
    """Return text that an error description may have (RFC 6749 section 5.2)."""
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in text)


_DESCRIPTIONS: Final = {
    "invalid_client": "client_id is missing, or names no client that is registered here",
    "invalid_grant": (
        "the code or refresh token is unknown, expired, used or revoked, or was given to another client, "
        "redirect_uri or code_verifier; sign in again"
    ),
}
"""Descriptions for errors that Authlib does not describe, or not in words that say what to do, by their code."""


def _reason(error: OAuth2Error) -> str:
    """Return what the page says of an authorization request that cannot be granted."""
    if error.error == "unsupported_response_type":
        return 'response_type must be "code"'
    reason = error.get_error_description() or str(error.error)
    if reason.startswith("Redirect URI"):
        reason += " Remove the server from the application and add it again, so that it registers anew."
    return reason


class SignInServer(AuthorizationServer):
    """Answers one request.

    Args:
        issuer: the URL of this server, as the client has dialled it.
        approvals: where approvals are kept.
        registrations: registers clients.
        find_client: returns the client with an id, or None.
    """

    def __init__(
        self,
        issuer: str,
        approvals: Approvals,
        registrations: Registrations,
        find_client: Callable[[str], Client | None],
    ) -> None:
        super().__init__()
        self.approvals = approvals
        self._find_client = find_client
        self.register_grant(_CodeGrant, [_S256()])
        self.register_grant(_RefreshGrant)
        self.register_endpoint(_Revocation)
        self.register_endpoint(_Registration(registrations))
        self.register_extension(_Issuer(issuer))
        self.register_token_generator("default", lambda **_: {"token_type": "Bearer"})

    # --- what a handler calls -------------------------------------------------------------------

    def validate(self, query: str) -> AuthorizationCodeGrant:
        """Check an authorization request.

        Raises:
            RefusedError: it cannot be granted.
        """
        try:
            request = _request("GET", query)
            return self.get_consent_grant(request)
        except OAuth2Error as error:
            answer = self.handle_error_response(None, error)
            if answer.location:
                self.execute_hook("after_create_authorization_response", answer)
            raise RefusedError(_reason(error), answer.location) from None
        except ValueError:  # Authlib cannot quote the parameter in its error
            raise RefusedError("a parameter has characters that it cannot have") from None

    def invalid_target(self, grant: AuthorizationCodeGrant, reason: str) -> RefusedError:
        """Return the error to raise for a resource that cannot be authorized."""
        error = InvalidTargetError(_plain(reason), redirect_uri=grant.redirect_uri)
        error.state = grant.request.payload.state
        answer = self.handle_error_response(None, error)
        self.execute_hook("after_create_authorization_response", answer)
        return RefusedError(reason, answer.location)

    def decide(self, grant: AuthorizationCodeGrant, approval: Approval | None) -> Answer:
        """Answer an authorization request that was checked; None denies it.

        Raises:
            OSError: the approval was not stored.
        """
        answer: Answer = self.create_authorization_response(grant.request, approval, grant)
        return answer

    def token(self, form: str) -> Answer:
        """Answer a token request.

        Raises:
            OSError: no token was issued.
        """
        return self._answered("POST", form, self.create_token_response)

    def revoke(self, form: str) -> Answer:
        """Answer a request to revoke a token (RFC 7009)."""
        name = _Revocation.ENDPOINT_NAME
        return self._answered("POST", form, lambda request: self.create_endpoint_response(name, request))

    def register(self, body: bytes) -> Answer:
        """Answer a request to register a client (RFC 7591)."""
        answer: Answer
        try:
            data = msgspec.json.decode(body, type=dict[str, object])
            if not data:
                raise ValueError("no metadata")
            request = _JsonRequest(data)
            answer = self.create_endpoint_response(_Registration.ENDPOINT_NAME, request)
        except (
            msgspec.DecodeError,
            UnicodeDecodeError,
            RecursionError,
            ValueError,
            TypeError,
            AttributeError,
        ):
            error = InvalidClientMetadataError("the body is not a JSON object with the metadata of a client")
            answer = self.handle_error_response(None, error)
        return answer

    def _answered(self, method: str, form: str, respond: Callable[[Any], Answer]) -> Answer:
        try:
            return respond(_request(method, form))
        except OAuth2Error as error:
            answer: Answer = self.handle_error_response(None, error)
            return answer

    # --- what Authlib calls ---------------------------------------------------------------------

    def query_client(self, client_id: str) -> Client | None:
        """Return the client with this id."""
        return self._find_client(client_id)

    def save_token(self, token: dict[str, Any], request: Any) -> None:
        """Issue what an approval gives, and complete the response with it."""
        stored: _Stored = request.authorization_code or request.refresh_token
        used = request.form.get("refresh_token", "") if request.refresh_token else ""
        issued = self.approvals.issue(stored.token, used)
        token |= {"access_token": issued.access_token, "expires_in": issued.expires_in}
        token["scope"] = stored.sign_in.scope
        if issued.refresh_token:
            token["refresh_token"] = issued.refresh_token

    def create_oauth2_request(self, request: _Request) -> _Request:
        """Return the request, which was made for Authlib."""
        return request

    def create_json_request(self, request: _JsonRequest) -> _JsonRequest:
        """Return the request, which was made for Authlib."""
        return request

    def handle_error_response(self, request: Any, error: OAuth2Error) -> Any:
        """Return a response for an error, with a description."""
        if error.error == "invalid_client" or not error.description:
            error.description = _DESCRIPTIONS.get(error.error, error.description)
        return super().handle_error_response(request, error)

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> Answer:
        """Return a response."""
        return Answer(status, body or {}, dict(headers))

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Do nothing: nobody listens."""


def _request(method: str, encoded: str) -> _Request:
    """Return a request for Authlib.

    Raises:
        InvalidRequestError: it has a parameter twice, or too many.
    """
    try:
        request = _Request(method, encoded)
    except ValueError:
        raise InvalidRequestError("there are too many parameters") from None
    if repeated := request.payload.repeated:
        raise InvalidRequestError(f"parameter {_plain(repeated[:60])} is repeated")
    return request
