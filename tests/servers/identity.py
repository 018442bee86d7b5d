"""Jupyter users for tests: an identity provider with named users, and an authorizer that knows guests."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from jupyter_server.auth import Authorizer, IdentityProvider, User


class NamedUsers(IdentityProvider):
    """Users by token, from the JSON file that USERS_FILE names; read at each request, so that one can leave."""

    def get_user(self, handler: Any) -> User | None:
        users = json.loads(Path(os.environ["USERS_FILE"]).read_text())
        name = users.get(self.get_token(handler))
        handler._token_authenticated = True  # as the stock provider does: a token needs no XSRF cookie
        return User(name) if name else None


class NoGuests(Authorizer):
    """Everybody may do everything, but "guest" nothing with MCP, "blind" not watch, "careful" break no links,
    and "reader" change no server."""

    def is_authorized(self, handler: Any, user: User, action: str, resource: str) -> bool:
        refused = {
            "blind": ("read", "mcp-tap"),
            "careful": ("execute", "mcp-faults"),
            "reader": ("write", "mcp"),
        }
        if refused.get(user.username) == (action, resource):
            return False
        return user.username != "guest" or not resource.startswith("mcp")
