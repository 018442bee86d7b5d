"""Identity providers with named users, and an authorizer that restricts some of them, for Jupyter in tests."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from jupyter_server.auth import Authorizer, IdentityProvider, User
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.auth.identity import PasswordIdentityProvider
from jupyter_server.auth.login import LoginFormHandler


class NamedUsers(IdentityProvider):
    """Users by token, from the JSON file that USERS_FILE names; it is read at each request, so users can be removed."""

    def get_user(self, handler: Any) -> User | None:
        users = json.loads(Path(os.environ["USERS_FILE"]).read_text())
        name = users.get(self.get_token(handler))
        handler._token_authenticated = True  # as the stock provider does: a token needs no XSRF cookie
        return User(name) if name else None


class NoGuests(Authorizer):
    """Allow everything, with five exceptions: "guest" may not use MCP, "blind" may not watch, "careful" may not break
    links, "reader" may not change servers, and "viewer" may not run code.
    """

    def is_authorized(self, handler: Any, user: User, action: str, resource: str) -> bool:
        refused = {
            "blind": ("read", "mcp-tap"),
            "careful": ("execute", "mcp-faults"),
            "reader": ("write", "mcp"),
            "viewer": ("execute", "kernels"),
        }
        if refused.get(user.username) == (action, resource):
            return False
        return user.username != "guest" or not resource.startswith("mcp")


class LoginNames(PasswordIdentityProvider):
    """Users who log in on Jupyter's form with NAME-password; only the check of the password is replaced."""

    def process_login_form(self, handler: Any) -> User | None:
        name, _, rest = handler.get_argument("password", default="").partition("-")
        return User(name) if rest == "password" else None


class ProxyNames(IdentityProvider):
    """Users whom a reverse proxy names in a header; only reading the cookie is replaced."""

    def get_user_cookie(self, handler: Any) -> User | None:
        name = handler.request.headers.get("X-Remote-User")
        return User(name) if name else None


class NamesForm(LoginFormHandler):
    """A login form for Jupyter's own provider whose cookies contain a user name."""

    @allow_unauthenticated
    async def post(self) -> None:
        name = self.get_argument("password", default="").partition("-")[0]
        self.identity_provider.set_login_cookie(self, User(name))
        self.finish("")
