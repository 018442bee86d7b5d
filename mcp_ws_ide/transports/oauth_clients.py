"""The SDK's OAuth clients: one that asks the user, and two that the server's operator has registered by hand.

The latter obtain tokens for themselves (RFC 6749, section 4.4; MCP extension for client credentials) and prove who they
are by a secret or by a signed assertion (``private_key_jwt``, RFC 7523). Knows nothing of requests and files of tokens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from mcp_ws_ide.config.spec import CLIENT_CREDENTIALS, is_loopback_host
from mcp_ws_ide.errors import TransportError
from mcp_ws_ide.transports.client_document import CLIENT_NAME

_NEEDS_MCP_2: Final = 'OAuth needs version 2 of the package "mcp"; update it, or set a token under headers'
_ALGORITHMS: Final = {"RSA": "RS256", "secp256r1": "ES256", "secp384r1": "ES384", "ED25519": "EdDSA"}
"""The algorithm of an assertion (RFC 7518, section 3.1), by the kind of the key or its curve."""


def new_provider(
    url: str,
    settings: Mapping[str, str],
    storage: Any,
    redirect_uri: str,
    publish: Callable[[str], Awaitable[None]],
    answered: Callable[[], Awaitable[Any]],
    document_url: str | None,
) -> Any:
    """Return the SDK's provider of tokens for a server.

    Args:
        url: the server.
        settings: what is configured under ``mcp_ws.oauth``.
        storage: the SDK's ``TokenStorage``.
        redirect_uri: where an authorization server sends the browser back.
        publish: takes the page where a user is to authorize.
        answered: returns what the browser brought back.
        document_url: where authorization servers can read who the gateway is; it is the client's id at those that
            support this. None if they cannot.

    Raises:
        TransportError: the installed SDK has no such client, or the private key cannot be used.
    """
    try:
        from mcp.client.auth import OAuthClientProvider
        from mcp.client.auth.extensions import client_credentials
        from mcp.shared.auth import OAuthClientMetadata
    except ImportError:
        raise TransportError(_NEEDS_MCP_2) from None
    if not issubclass(OAuthClientProvider, httpx2.Auth):
        raise TransportError(_NEEDS_MCP_2)
    if settings.get("grant") == CLIENT_CREDENTIALS:
        known = {name: settings.get(name) for name in ("client_id", "scope", "issuer")}
        if "client_secret" in settings:
            secret = settings["client_secret"]
            return client_credentials.ClientCredentialsOAuthProvider(
                url, storage, client_secret=secret, **known
            )
        assertion = _assertion(client_credentials, settings)
        return client_credentials.PrivateKeyJWTOAuthProvider(
            url, storage, assertion_provider=assertion, **known
        )
    metadata = OAuthClientMetadata(
        redirect_uris=[redirect_uri],
        client_name=CLIENT_NAME,
        scope=settings.get("scope"),
        application_type="native" if is_loopback_host(urlsplit(redirect_uri).hostname) else "web",
    )
    return OAuthClientProvider(url, metadata, storage, publish, answered, document_url)


def _assertion(client_credentials: Any, settings: Mapping[str, str]) -> Any:
    """Return what signs assertions with the configured key."""
    path = Path(settings["private_key_file"]).expanduser()
    try:
        key = path.read_text(encoding="ascii")
        algorithm = _algorithm(key)
    except (OSError, ValueError, TypeError) as error:
        wanted = "it must be a PEM file without a password, with an RSA, P-256, P-384 or Ed25519 key"
        reason = f"the private key {str(path)!r} cannot be used ({type(error).__name__}); {wanted}"
        raise TransportError(reason) from None
    client = settings["client_id"]
    parameters = client_credentials.SignedJWTParameters(
        issuer=client, subject=client, signing_key=key, signing_algorithm=algorithm
    )
    return parameters.create_assertion_provider()


def _algorithm(pem: str) -> str:
    """Return the algorithm with which a key signs.

    Raises:
        ValueError: it is no key, or of an unknown kind.
        TypeError: it is encrypted.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(pem.encode(), password=None)
    if isinstance(key, EllipticCurvePrivateKey):
        kind = key.curve.name
    else:
        kind = (
            "RSA"
            if isinstance(key, RSAPrivateKey)
            else "ED25519"
            if isinstance(key, Ed25519PrivateKey)
            else ""
        )
    if kind not in _ALGORITHMS:
        raise ValueError("unknown kind of key")
    return _ALGORITHMS[kind]
