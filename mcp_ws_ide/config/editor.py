"""Changes the user's own ``mcp.json`` through the gateway: checks an entry, takes consent, then writes.

Connects the file (:mod:`.document`), the meaning of entries (:mod:`.entry`) and the consents (:mod:`.consents`).
Knows nothing of HTTP beyond status codes. Consent and file are written in this order, so that a crash between the two
leaves an entry that awaits consent, never one that runs without it. A cancelled caller does not interrupt the writes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mcp_ws_ide.config.consents import Consent, Consents
from mcp_ws_ide.config.document import MISSING, DefinitionFile, FileChangedError, Snapshot
from mcp_ws_ide.config.entry import launch_parts
from mcp_ws_ide.config.entry_check import check_entry
from mcp_ws_ide.config.json_edit import DefinitionError, with_entry, without_entry
from mcp_ws_ide.config.launch_view import launch_view
from mcp_ws_ide.config.masking import masked, unmasked
from mcp_ws_ide.config.spec import ConfigProblem, ServerSpec
from mcp_ws_ide.core.names import is_address
from mcp_ws_ide.private_files import same_file

log = logging.getLogger(__name__)


class Reload(Protocol):
    """Applies the configuration if a file changed, or if ``force``; returns the servers by name."""

    def __call__(self, force: bool = False) -> Mapping[str, ServerSpec]:
        """See the class."""


class EditRefusedError(Exception):
    """A change was refused, and nothing was changed; the message says why.

    Attributes:
        status: HTTP status.
        problems: everything wrong with the entry, if that is the reason.
    """

    def __init__(self, status: int, message: str, problems: list[ConfigProblem] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.problems = problems or []


@dataclass(frozen=True, slots=True)
class Preview:
    """What an entry would run.

    Attributes:
        digest: identifies what a user consents to; None while the entry has errors.
        launch: program, arguments, directory, names of variables, for people (:func:`~.launch_view.launch_view`).
        problems: everything wrong with the entry.
        spec: the server; None while the entry has errors.
        entry: the entry, secrets filled in.
    """

    digest: str | None
    launch: dict[str, Any]
    problems: list[ConfigProblem]
    spec: ServerSpec | None
    entry: dict[str, Any]


class ConfigEditor:
    """Edits the one file that may be changed, and keeps the consents to its entries.

    Args:
        path: the user's own ``mcp.json``; it need not exist.
        consents: where consents are kept.
        allowed: whether anything may be changed.
        reload: see :class:`Reload`.
        root_dir: see :func:`~.load.load`.
    """

    def __init__(
        self, path: str, consents: Consents, *, allowed: bool, reload: Reload, root_dir: str = ""
    ) -> None:
        self.path = os.path.abspath(os.path.expanduser(path))
        self._consents = consents
        self._key = consents.key_of(self.path)
        self._file = DefinitionFile(self.path, consents.seal)
        self._allowed = allowed
        self._reload = reload
        self._root_dir = root_dir
        self._lock = asyncio.Lock()

    # --- reading --------------------------------------------------------------------------------

    def needed(self, spec: ServerSpec, entry: Mapping[str, Any]) -> str | None:
        """Return the digest that needs consent before this entry is started; a :data:`~.load.ConsentCheck`."""
        if not self._is_own(spec.source):
            return None
        digest = self._digest(spec, entry)
        return digest if self._consents.needed(self._key, spec.name, digest) else None

    def _is_own(self, source: str) -> bool:
        """Return whether a server comes from the editable file, however its path is spelled."""
        return source == self.path or same_file(source, self.path)

    def _digest(self, spec: ServerSpec, entry: Mapping[str, Any]) -> str:
        return self._consents.digest(self._key, spec.name, launch_parts(spec, entry))

    def read_only(self, source: str | None = None) -> str:
        """Return why an entry of ``source`` cannot be changed, or a new one added; ``""`` if it can."""
        if not self._allowed:
            return "editing servers is disabled; set MCPWebSocketApp.allow_editing to enable it"
        if source is not None and not self._is_own(source):
            return f"it is defined in {source}; only entries of {self.path} can be edited here"
        reason = self._file.read_only()
        return f"{self.path}: {reason}" if reason else ""

    def definition(self, spec: ServerSpec) -> dict[str, Any]:
        """Return an entry for a browser, and the consent to it.

        Raises:
            EditRefusedError: the entry cannot be edited.
        """
        if reason := self.read_only(spec.source):
            raise EditRefusedError(409, reason)
        before = self._read()
        entry = self._stored_entry(before, spec.name)
        if not isinstance(entry, dict):
            raise EditRefusedError(
                409, f"{self.path}: the entry is not in an object of servers; change it by hand"
            )
        return self._model(spec.name, entry, before.version)

    def _model(self, name: str, entry: dict[str, Any], version: str) -> dict[str, Any]:
        """Return an entry in this version of the file, as REST presents it."""
        consent = self._consents.of(self._key, name)
        preview = self._preview(name, masked(entry), entry)
        usable = preview.spec is not None and preview.spec.disabled_reason is None
        return {
            "name": name,
            "file": self.path,
            "version": version,
            "entry": masked(entry),
            "consent": None if consent is None else {"by": consent.by, "at": consent.at},
            "awaits": usable and self._consents.needed(self._key, name, preview.digest or ""),
            "digest": preview.digest,
            "launch": preview.launch,
        }

    def preview(
        self, name: str, entry: dict[str, Any], imported: Mapping[str, Any] | None = None
    ) -> tuple[Preview, str]:
        """Return what an unsaved entry would run, and the version of the file.

        Args:
            imported: as of :meth:`save`.

        Raises:
            EditRefusedError: an entry with this name cannot be changed or added.
        """
        self._check_name(name)
        before = self._read()
        return self._preview(name, entry, self._unmasked(name, entry, before, imported)), before.version

    def _preview(self, name: str, seen: Mapping[str, Any], entry: dict[str, Any]) -> Preview:
        """Preview an entry; ``seen`` is the entry as the browser sees it, secrets masked."""
        spec, problems = self._checked(name, entry)
        if spec is None:
            return Preview(None, {}, problems, None, entry)
        view = launch_view(seen, spec)
        if spec.kind == "stdio" and spec.disabled_reason is None and view["program"] is None:
            reason = f"command not found: {view['command']!r}; install it, or give its full path"
            problems = [*problems, ConfigProblem(self.path, f"{name}.command", reason, "notice")]
        return Preview(self._digest(spec, entry), view, problems, spec, entry)

    def _checked(self, name: str, entry: Mapping[str, Any]) -> tuple[ServerSpec | None, list[ConfigProblem]]:
        return check_entry(name, self.path, entry, os.environ, self._root_dir)

    def _check_name(self, name: str) -> ServerSpec | None:
        """Return the configured server of this name, or None; refuse if it cannot be edited."""
        configured = self._reload().get(name)
        if configured is None and not is_address(name):
            raise EditRefusedError(422, f"{name!r} cannot be part of a URL; choose another name")
        reason = self.read_only(configured.source if configured is not None else None)
        if reason:
            raise EditRefusedError(409 if self._allowed else 403, reason)
        return configured

    def _read(self) -> Snapshot:
        try:
            return self._file.read()
        except DefinitionError as error:
            raise EditRefusedError(409, f"{self.path}: {error}") from None

    def _stored_entry(self, before: Snapshot, name: str) -> Any:
        try:
            return before.entry(self._name_in_file(name))
        except DefinitionError as error:
            raise EditRefusedError(409, f"{self.path}: {error}") from None

    def _name_in_file(self, address: str) -> str:
        """Return the name of a server as the file has it, from which its address was made."""
        configured = self._reload().get(address)
        return address if configured is None or configured.title is None else configured.title

    def _unmasked(
        self, name: str, entry: dict[str, Any], before: Snapshot, imported: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        stored = self._stored_entry(before, name) if imported is None else imported
        try:
            complete = unmasked(entry, stored if isinstance(stored, dict) else None)
            json.dumps(complete, ensure_ascii=False, allow_nan=False).encode()
        except DefinitionError as error:
            raise EditRefusedError(422, str(error)) from None
        except (ValueError, RecursionError):
            reason = "the entry contains a lone surrogate, or a number that JSON cannot represent"
            raise EditRefusedError(422, reason) from None
        return dict(complete)

    # --- changing -------------------------------------------------------------------------------

    async def save(
        self,
        name: str,
        entry: dict[str, Any],
        version: str,
        agreed: str | None,
        by: str,
        imported: Mapping[str, Any] | None = None,
    ) -> tuple[bool, dict[str, Any]]:
        """Write an entry; return whether it is new, and its :meth:`definition` now.

        Without consent to exactly what it runs, the entry is written but not started.

        Args:
            version: version of the file that the user reviewed.
            agreed: digest of the preview that the user consents to, or None.
            by: the user.
            imported: the entry of another client that hidden values come from; None: the stored one.

        Raises:
            EditRefusedError: nothing was changed.
        """
        async with self._lock:
            configured = self._check_name(name)
            before = self._at_version(version)
            if configured is not None and self._stored_entry(before, name) is None:
                raise EditRefusedError(409, f"{self.path}: the entry is in a list; change it by hand")
            preview = self._preview(name, entry, self._unmasked(name, entry, before, imported))
            if preview.digest is None:
                raise EditRefusedError(422, "the entry has errors", preview.problems)
            if agreed is not None and agreed != preview.digest:
                raise EditRefusedError(
                    409, "the entry would run something other than what was agreed to; preview it again"
                )
            text = self._changed(lambda: with_entry(before.text, self._name_in_file(name), preview.entry))
            consent = self._consent_for(name, preview.digest, agreed, by, before)
            written = await self._write(name, before, text, consent)
            self._reload(force=True)
            model = self._model(name, preview.entry, written)
        verb = "added" if configured is None else "changed"
        log.info("user %r %s the server %s in %s", by, verb, name, self.path)
        return configured is None, model

    def _consent_for(
        self, name: str, digest: str, agreed: str | None, by: str, before: Snapshot
    ) -> Consent | None:
        """Return the consent to keep with an entry; None for one that was written by hand and runs the same."""
        if agreed is not None:
            return Consent(digest, by, time.time())
        consent = self._consents.of(self._key, name)
        if consent is not None:
            return consent if consent.digest == digest else Consent()
        stored = self._stored_entry(before, name)
        spec = self._checked(name, stored)[0] if isinstance(stored, dict) else None
        runs_the_same = spec is not None and self._digest(spec, stored) == digest
        return None if runs_the_same else Consent()

    async def remove(self, name: str, version: str, by: str) -> None:
        """Remove an entry from the file; live sessions keep their server.

        Raises:
            EditRefusedError: nothing was changed.
        """
        async with self._lock:
            if self._check_name(name) is None:
                raise EditRefusedError(404, f"server {name!r} is not configured")
            before = self._at_version(version)
            text = self._changed(lambda: without_entry(before.text, self._name_in_file(name)))
            consent = self._consents.of(self._key, name)
            await self._write(name, before, text, consent)
            if consent is not None:
                self._forget_consent(name)
            self._reload(force=True)
        log.info("user %r removed the server %s from %s", by, name, self.path)

    def _forget_consent(self, name: str) -> None:
        """Forget the consent to a removed entry. A failure is harmless: a new entry of that name awaits consent."""
        try:
            self._consents.set(self._key, name, None)
        except OSError as error:
            log.warning("the consent to the server %s cannot be removed: %s", name, error)

    async def agree(self, name: str, digest: str, by: str) -> None:
        """Note that a user consents to what an entry of the file runs.

        Raises:
            EditRefusedError: the entry is not the one that was reviewed.
        """
        async with self._lock:
            configured = self._check_name(name)
            if configured is None:
                raise EditRefusedError(404, f"server {name!r} is not configured")
            if configured.consent is None:
                raise EditRefusedError(409, f"server {name!r} does not await consent")
            if configured.consent != digest:
                raise EditRefusedError(
                    409, "the entry would run something other than what was reviewed; review it again"
                )
            try:
                self._consents.grant(self._key, name, digest, by)
            except OSError as error:
                raise EditRefusedError(500, f"the consent cannot be saved: {error.strerror}") from None
            self._reload(force=True)
        log.info("user %r consented to start the server %s of %s", by, name, self.path)

    def _at_version(self, version: str) -> Snapshot:
        before = self._read()
        if before.version == version:
            return before
        if before.version == MISSING:
            reason = "was removed in the meantime; reload the entry, then save it to create a new file"
        else:
            reason = "has changed in the meantime; reload it and try again"
        raise EditRefusedError(412, f"{self.path} {reason}")

    def _changed(self, change: Callable[[], str]) -> str:
        try:
            return change()
        except DefinitionError as error:
            raise EditRefusedError(409, f"{self.path}: {error}") from None

    async def _write(self, name: str, before: Snapshot, text: str, consent: Consent | None) -> str:
        """Keep the consent and write the file in a thread; return the new version."""
        loop = asyncio.get_running_loop()
        try:
            return await _completed(loop.run_in_executor(None, self._write_both, name, before, text, consent))
        except FileChangedError as error:
            raise EditRefusedError(412, f"{self.path}: {error}") from None
        except DefinitionError as error:
            raise EditRefusedError(409, f"{self.path}: {error}") from None
        except OSError as error:
            raise EditRefusedError(500, f"the consent cannot be saved: {error.strerror}") from None

    def _write_both(self, name: str, before: Snapshot, text: str, consent: Consent | None) -> str:
        """Write the consent, then the file: in between, the old entry does not match it, and so awaits consent."""
        previous = self._consents.of(self._key, name)
        if consent != previous:
            self._consents.set(self._key, name, consent)
        try:
            return self._file.write(before, text)
        except Exception:
            if consent != previous:
                self._consents.set(self._key, name, previous)
            raise


async def _completed(write: asyncio.Future[str]) -> str:
    """Return the result of a write in a thread, which cannot be stopped.

    A cancelled caller waits for it too, and so keeps the editor's lock until the write is done.
    """
    cancelled: asyncio.CancelledError | None = None
    while not write.done():
        try:
            await asyncio.wait({write})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return write.result()
