"""``{base_url}mcp-ws/api/servers/{name}/definition`` and what belongs to it: entries of the user's own ``mcp.json``.

Everything here needs the authorizer's ``write`` on ``mcp``, besides what the rest of REST needs. Nothing is started
for an entry before its digest, which only a preview tells, has come back.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from mcp_ws_ide.config.editor import ConfigEditor, EditRefused
from mcp_ws_ide.gateway.try_server import try_server
from mcp_ws_ide.handlers.api.base import ApiHandler, problem_model


class ManagerHandler(ApiHandler):
    """Base: refusals of the manager as answers."""

    @property
    def manager(self) -> ConfigEditor:
        """Who changes the file."""
        return self.runtime.manager

    @property
    def user_name(self) -> str:
        """Who is said to have agreed."""
        return self.principal

    def _entry_of(self, body: dict[str, Any]) -> dict[str, Any]:
        entry = body.get("entry")
        if not isinstance(entry, dict):
            raise web.HTTPError(400, '"entry" must be an object, as in mcp.json')
        return entry

    def _digest_of(self, body: dict[str, Any], key: str) -> str | None:
        digest = body.get(key)
        if digest is not None and not isinstance(digest, str):
            raise web.HTTPError(400, f'"{key}" must be the "digest" of a preview')
        return digest

    def _version(self) -> str:
        version = self.request.headers.get("If-Match", "").strip().strip('"')
        if not version:
            words = 'say in If-Match which "version" of the file you have looked at'
            raise web.HTTPError(428, words)
        return version

    def compute_etag(self) -> None:
        """The version of the file is the ETag; Tornado would make one of the answer."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """A refusal says everything that is wrong with an entry."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if not isinstance(error, EditRefused):
            return super().write_error(status_code, **kwargs)
        self.set_status(error.status)
        problems = [problem_model(problem) for problem in error.problems]
        self.finish({"message": str(error), "status": error.status, "problems": problems})

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """A refusal is no failure."""
        if isinstance(value, EditRefused):
            self.log.debug("%s %s: %s", value.status, self.request.path, value)
        else:
            super().log_exception(typ, value, tb)


class DefinitionHandler(ManagerHandler):
    """``api/servers/{name}/definition``."""

    @web.authenticated
    @authorized("write", resource="mcp")
    async def get(self, name: str) -> None:
        """The entry of the user's mcp.json, without secrets."""
        server = self.server_named(name)
        self._finish_definition(self.manager.definition(server.spec))

    def _finish_definition(self, model: dict[str, Any]) -> None:
        self.set_header("Cache-Control", "no-store")
        self.set_header("ETag", f'"{model["version"]}"')
        self.finish(model)

    @web.authenticated
    @authorized("write", resource="mcp")
    async def put(self, name: str) -> None:
        """Write the entry."""
        body = self.body("entry", "consent")
        agreed = self._digest_of(body, "consent")
        entry, version = self._entry_of(body), self._version()
        new, model = await self.manager.save(name, entry, version, agreed, self.user_name)
        self.set_status(201 if new else 200)
        self._finish_definition(model)

    @web.authenticated
    @authorized("write", resource="mcp")
    async def delete(self, name: str) -> None:
        """Remove the entry; live sessions keep the server they have."""
        await self.manager.remove(name, self._version(), self.user_name)
        self.set_status(204)
        self.finish()


class PreviewHandler(ManagerHandler):
    """``api/servers/{name}/preview``."""

    @web.authenticated
    @authorized("write", resource="mcp")
    async def post(self, name: str) -> None:
        """What an entry would run, and everything that is wrong with it. Starts nothing."""
        preview, version = self.manager.preview(name, self._entry_of(self.body("entry")))
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
        """Agree to what the entry runs."""
        digest = self._digest_of(self.body("digest"), "digest")
        if digest is None:
            raise web.HTTPError(400, '"digest" must be that of what you agree to')
        await self.manager.agree(name, digest, self.user_name)
        self.set_status(204)
        self.finish()


class TryHandler(ManagerHandler):
    """``api/servers/{name}/try``."""

    @web.authenticated
    @authorized("write", resource="mcp")
    async def post(self, name: str) -> None:
        """Start what was agreed to once, ask what it is, end it. Saves nothing."""
        body = self.body("entry", "consent")
        preview, _ = self.manager.preview(name, self._entry_of(body))
        if preview.spec is None or preview.digest is None:
            raise EditRefused(422, "the entry has mistakes", preview.problems)
        if self._digest_of(body, "consent") != preview.digest:
            raise EditRefused(409, "what it would run is not what was agreed to; look at it again")
        spec = preview.spec
        if spec.disabled_reason is not None or spec.group:
            raise EditRefused(
                409, spec.disabled_reason or "a group starts nothing of its own; try its members"
            )
        running = self.runtime.trials
        if self.principal in running:
            raise EditRefused(409, "another server is being tried; wait until that is over")
        running.add(self.principal)
        try:
            report = await try_server(self.runtime.gateway, spec, self.principal)
        finally:
            running.discard(self.principal)
        hide = self.runtime.gateway.tap.redactor.text
        model = asdict(report)
        model |= {"error": hide(report.error), "stderr": [hide(line) for line in report.stderr]}
        self.set_header("Cache-Control", "no-store")
        self.finish(model)
