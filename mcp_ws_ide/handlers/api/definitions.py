"""``api/servers/{name}/definition``, ``preview``, ``consent`` and ``try``: entries of the user's own ``mcp.json``.

All calls also need the authorizer's ``write`` on ``mcp``. Nothing is started from an entry until a client has sent back
its digest, which only a preview reveals. ``api/client-files`` lists entries of other MCP clients on this machine, whose
secrets a new entry can take over by naming the entry they come from.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from jupyter_server.auth.authorizer import AllowAllAuthorizer
from jupyter_server.auth.decorator import authorized
from jupyter_server.utils import ensure_async
from tornado import web

from mcp_ws_ide.config.client_files import ClientFile, find_entry, find_files, home
from mcp_ws_ide.config.editor import ConfigEditor, EditRefusedError
from mcp_ws_ide.config.masking import masked
from mcp_ws_ide.config.secrets import censor_text
from mcp_ws_ide.credentials import names_users
from mcp_ws_ide.gateway.try_server import try_server
from mcp_ws_ide.handlers.api.base import ApiHandler, problem_model

CLIENT_FILES: Final = "mcp-client-files"
"""The resource that an authorizer is asked about before files of other clients are read."""
SEVERAL_USERS: Final = (
    "this Jupyter may have several users, so it shows files of the account that it runs under only if an authorizer "
    f'(ServerApp.authorizer_class) allows "read" on "{CLIENT_FILES}"'
)


class ManagerHandler(ApiHandler):
    """Base: the configuration editor, and its refusals as responses."""

    @property
    def manager(self) -> ConfigEditor:
        """The editor of the file."""
        return self.runtime.manager

    @property
    def user_name(self) -> str:
        """The user that a consent is recorded for."""
        return self.principal

    def _entry_of(self, body: dict[str, Any]) -> dict[str, Any]:
        entry = body.get("entry")
        if not isinstance(entry, dict):
            raise web.HTTPError(400, '"entry" must be a JSON object, as in mcp.json')
        return entry

    def _digest_of(self, body: dict[str, Any], key: str) -> str | None:
        digest = body.get(key)
        if digest is not None and not isinstance(digest, str):
            raise web.HTTPError(400, f'"{key}" must be the "digest" of a preview')
        return digest

    async def _imported(self, body: dict[str, Any]) -> Mapping[str, Any] | None:
        """Return the entry of another client that ``from`` names; None if the body has no such member.

        Raises:
            HTTPError: 400, 403 or 404: it is malformed, not for this user, or there is none.
        """
        place = body.get("from")
        if place is None:
            return None
        path, key = (place.get("path"), place.get("key")) if isinstance(place, dict) else (None, None)
        if not isinstance(path, str) or not isinstance(key, str):
            raise web.HTTPError(
                400, '"from" must be an object with the "path" of a file and the "key" of an entry'
            )
        await self._check_account()
        found = await asyncio.to_thread(find_entry, home(), self.runtime.settings.root_dir, path, key)
        if found is None:
            raise web.HTTPError(404, f"{path} has no entry {key!r}; list the files again")
        return found.entry

    async def _check_account(self) -> None:
        """Refuse a user to whom the files of the account that Jupyter runs under may not belong.

        Without named users it is theirs. On a JupyterHub, it is the owner's alone. Elsewhere the authorizer decides,
        and the one that allows everything does not count.
        """
        user, owner = self.current_user, os.environ.get("JUPYTERHUB_USER")
        if names_users(self.identity_provider):
            if owner is not None and user.username != owner:
                raise self.refuse(
                    403, "authorizer", f"only {owner}, whose server this is, may see files of the account"
                )
            if owner is None and type(self.authorizer) is AllowAllAuthorizer:
                raise self.refuse(403, "authorizer", SEVERAL_USERS)
        if not await ensure_async(self.authorizer.is_authorized(self, user, "read", CLIENT_FILES)):
            raise self.refuse(403, "authorizer", f"you are not authorized to read on {CLIENT_FILES}")

    def _version(self) -> str:
        version = self.request.headers.get("If-Match", "").strip().strip('"')
        if not version:
            message = (
                'the header If-Match is missing; send the "version" of the file that the change is based on'
            )
            raise web.HTTPError(428, message)
        return version

    def compute_etag(self) -> None:
        """Return None: the ETag is the version of the file, not Tornado's hash of the response."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write a refusal with all problems of the entry."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if not isinstance(error, EditRefusedError):
            return super().write_error(status_code, **kwargs)
        self.set_status(error.status)
        problems = [problem_model(problem) for problem in error.problems]
        self.finish({"message": str(error), "status": error.status, "problems": problems})

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log a refusal as debug; it is not a failure of the gateway."""
        if isinstance(value, EditRefusedError):
            self.log.debug("%s %s: %s", value.status, self.request.path, value)
        else:
            super().log_exception(typ, value, tb)


class DefinitionHandler(ManagerHandler):
    """``api/servers/{name}/definition``."""

    @web.authenticated
    @authorized("write", resource="mcp")
    async def get(self, name: str) -> None:
        """Get the entry from the user's mcp.json, without secrets."""
        server = self.server_named(name)
        self._finish_definition(self.manager.definition(server.spec))

    def _finish_definition(self, model: dict[str, Any]) -> None:
        self.set_header("Cache-Control", "no-store")
        self.set_header("ETag", f'"{model["version"]}"')
        self.finish(model)

    @web.authenticated
    @authorized("write", resource="mcp")
    async def put(self, name: str) -> None:
        """Write the entry; without a consent it is not started."""
        body = self.body("entry", "consent", "from")
        agreed = self._digest_of(body, "consent")
        entry, version = self._entry_of(body), self._version()
        imported = await self._imported(body)
        new, model = await self.manager.save(name, entry, version, agreed, self.user_name, imported)
        self.set_status(201 if new else 200)
        self._finish_definition(model)

    @web.authenticated
    @authorized("write", resource="mcp")
    async def delete(self, name: str) -> None:
        """Remove the entry; open sessions keep the server they have."""
        await self.manager.remove(name, self._version(), self.user_name)
        self.set_status(204)
        self.finish()


class PreviewHandler(ManagerHandler):
    """``api/servers/{name}/preview``."""

    @web.authenticated
    @authorized("write", resource="mcp")
    async def post(self, name: str) -> None:
        """Show what an entry would run, and all its errors. Starts and saves nothing."""
        body = self.body("entry", "from")
        entry = self._entry_of(body)
        preview, version = self.manager.preview(name, entry, await self._imported(body))
        self.set_header("Cache-Control", "no-store")
        self.finish(
            {
                "digest": preview.digest,
                "launch": preview.launch or None,
                "problems": [problem_model(problem) for problem in preview.problems],
                "version": version,
            }
        )


class ConsentHandler(ManagerHandler):
    """``api/servers/{name}/consent``."""

    @web.authenticated
    @authorized("write", resource="mcp")
    async def post(self, name: str) -> None:
        """Agree to what the entry in the file runs."""
        digest = self._digest_of(self.body("digest"), "digest")
        if digest is None:
            raise web.HTTPError(400, '"digest" is missing; send the "digest" of a preview')
        await self.manager.agree(name, digest, self.user_name)
        self.set_status(204)
        self.finish()


class TryHandler(ManagerHandler):
    """``api/servers/{name}/try``."""

    @web.authenticated
    @authorized("write", resource="mcp")
    async def post(self, name: str) -> None:
        """Start the agreed entry once, ask for its name and tools, and end it. Saves nothing."""
        body = self.body("entry", "consent", "from")
        entry = self._entry_of(body)
        preview, _ = self.manager.preview(name, entry, await self._imported(body))
        if preview.spec is None or preview.digest is None:
            raise EditRefusedError(422, 'the entry has errors; see "problems"', preview.problems)
        if self._digest_of(body, "consent") != preview.digest:
            raise EditRefusedError(
                409, "the entry would run something other than what you agreed to; review it again"
            )
        spec = preview.spec
        if spec.disabled_reason is not None or spec.group:
            raise EditRefusedError(
                409, spec.disabled_reason or "a group has no process to test; test its members"
            )
        running = self.runtime.trials
        if self.principal in running:
            raise EditRefusedError(409, "you are testing a server already; wait until that test has finished")
        running.add(self.principal)
        try:
            report = await try_server(self.runtime.gateway, spec, self.principal)
        finally:
            running.discard(self.principal)
        hide = self.runtime.gateway.tap.redactor.text
        model = asdict(report)
        model |= {"error": hide(report.error), "note": hide(report.note)}
        model |= {"stderr": [hide(line) for line in report.stderr]}
        self.set_header("Cache-Control", "no-store")
        self.finish(model)


class ClientFilesHandler(ManagerHandler):
    """``api/client-files``."""

    @web.authenticated
    @authorized("write", resource="mcp")
    async def get(self) -> None:
        """List the servers in files of other MCP clients, without secrets. Starts and saves nothing."""
        if reason := self.manager.read_only():
            raise EditRefusedError(403, reason)
        await self._check_account()
        files = await asyncio.to_thread(find_files, home(), self.runtime.settings.root_dir)
        self.finish({"files": [_file_model(file) for file in files]})


def _file_model(file: ClientFile) -> dict[str, Any]:
    """A file of another client, as REST shows it."""
    entries = [
        {
            "key": found.key,
            "name": found.name,
            "address": found.address,
            "entry": masked(found.entry),
            "notices": [f"{notice.key}: {censor_text(notice.reason)}" for notice in found.notices],
        }
        for found in file.entries
    ]
    return {"program": file.program, "path": file.path, "problem": file.problem, "entries": entries}
