"""The authorizations of a gateway at remote servers, by server and principal, and the pages that wait for users.

What an authorization does is in :mod:`.oauth`, which is imported once a server needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcp_ws_ide.config.spec import ServerSpec
from mcp_ws_ide.tasks import TaskGroupOwner
from mcp_ws_ide.transports.client_document import CLIENT_DOCUMENT, client_document

if TYPE_CHECKING:
    from mcp_ws_ide.transports.oauth import Authorization

CALLBACK: Final = "mcp-ws/oauth/callback"
"""Path below the public URL to which authorization servers send the browser back."""


class Authorizations:
    """All authorizations of a gateway, and the pages that wait for users.

    Args:
        directory: directory of the private files; created with mode 0700.
        public_url: returns the URL of the Jupyter server as browsers see it, with its base URL.
        timeout: seconds to wait for a user to authorize.
        documented: whether authorization servers can read the gateway's :attr:`client_document`.
    """

    def __init__(
        self, directory: Path, public_url: Callable[[], str], timeout: float, *, documented: bool = False
    ) -> None:
        self.directory, self.timeout = directory, timeout
        self._public_url = public_url
        self._documented = documented
        self.tasks = TaskGroupOwner()
        self._known: dict[tuple[str, str], Authorization] = {}
        self._expected: dict[str, Authorization] = {}

    @property
    def redirect_uri(self) -> str:
        """URL to which authorization servers send the browser back."""
        return f"{self._public_url().rstrip('/')}/{CALLBACK}"

    @property
    def client_document_url(self) -> str | None:
        """Where authorization servers can read the gateway's :attr:`client_document`; None if they cannot."""
        return f"{self._public_url().rstrip('/')}/{CLIENT_DOCUMENT}" if self._documented else None

    @property
    def client_document(self) -> dict[str, Any] | None:
        """The document that describes the gateway as a client; None if it is not published."""
        url = self.client_document_url
        return None if url is None else client_document(url, self.redirect_uri)

    def where(self, name: str) -> str:
        """Return the REST URL that shows a user the authorization page of a server."""
        return f"{self._public_url().rstrip('/')}/mcp-ws/api/servers/{name}"

    def of(self, spec: ServerSpec, principal: str) -> Authorization:
        """Return the authorization of this server and principal; a new one after its address or client has changed."""
        known = self._known.get((spec.name, principal))
        if known is None or _identity(known.spec) != _identity(spec):
            from mcp_ws_ide.transports.oauth import Authorization  # imports an HTTP client

            known = self._known[spec.name, principal] = Authorization(self, spec, principal)
        return known

    def pending(self, name: str, principal: str) -> Authorization | None:
        """Return the authorization that waits for this principal to open its page, or None."""
        known = self._known.get((name, principal))
        return known if known is not None and known.page is not None else None

    def expect(self, state: str, authorization: Authorization) -> None:
        """Register an authorization whose browser will return with ``state``."""
        self._expected[state] = authorization

    def forget(self, authorization: Authorization) -> None:
        """Stop expecting the browser of an authorization."""
        self._expected = {
            state: known for state, known in self._expected.items() if known is not authorization
        }

    def complete(self, principal: str, answer: Mapping[str, str]) -> str | None:
        """Take the parameters that a browser brought back; return the name of the server.

        Return None if no authorization of this principal expects this ``state``. A state is valid once; another
        principal does not use it up.
        """
        authorization = self._expected.get(answer.get("state", ""))
        if authorization is None or authorization.principal != principal:
            return None
        self.forget(authorization)
        authorization.take(answer)
        return authorization.spec.name

    async def aclose(self) -> None:
        """Cancel the flows; requests that wait for them fail."""
        await self.tasks.aclose(timeout=1.0)


def _identity(spec: ServerSpec) -> tuple[Any, ...]:
    """Return what an authorization is valid for."""
    return spec.url, spec.oauth, spec.ca_file
