"""Changing the user's own ``mcp.json`` through the gateway: checked, agreed to, then written.

Connects the file (:mod:`.document`), the meaning of entries (:mod:`.load`) and the consents (:mod:`.consents`). It
knows nothing of HTTP. The two writes are ordered so that a crash between them leaves an entry that waits for consent,
never one that runs without it. A caller may be cancelled while it saves; the writes are not.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from mcp_ws_ide.config import load as config
from mcp_ws_ide.config.consents import Consent, Consents
from mcp_ws_ide.config.document import (
    MISSING,
    Changed,
    DefinitionError,
    DefinitionFile,
    Snapshot,
    restored,
    shown,
    with_entry,
    without_entry,
)
from mcp_ws_ide.config.load import Problem, ServerSpec
from mcp_ws_ide.observe.redaction import HIDDEN
from mcp_ws_ide.private_files import same_file
from mcp_ws_ide.transports.stdio import find_program

_CODE: Final = re.compile(
    r"(LD|DYLD|GIT|UV|PIP|PIPX|NPM_CONFIG|YARN|PNPM|BUN|DENO|COREPACK|NVM|CONDA|MAMBA|PIXI|POETRY|HATCH|BUNDLE|GEM|CARGO|RUSTUP"
    r"|RUSTC|DOTNET|NUGET|DOCKER|CONTAINER|PODMAN|NIX|XDG|BASH_FUNC|MAVEN|GRADLE|JBANG|PHP|JULIA|PLAYWRIGHT|PUPPETEER)_.*"
    r"|PYTHON.*|PERL5.*|RUBY(OPT|LIB)|RUSTC|NODE_(OPTIONS|PATH)|ELECTRON_RUN_AS_NODE|PHPRC|VIRTUAL_ENV|GCONV_PATH"
    r"|ENV|BASH_ENV|ZDOTDIR|SHELL(OPTS)?|BASHOPTS|IFS|PATH|PATHEXT|CDPATH|HOME|EDITOR|VISUAL|PAGER|BROWSER|SSH_ASKPASS"
    r"|_?JAVA_(TOOL_)?OPTIONS|JDK_JAVA_OPTIONS|JAVA_HOME|CLASSPATH|LUA_(PATH|CPATH|INIT).*|R_(PROFILE|ENVIRON|LIBS).*"
    r"|GO(FLAGS|PROXY|PRIVATE|NOSUMDB|SUMDB|INSECURE|TOOLCHAIN|ROOT|PATH|ENV)|OPENSSL_(CONF|MODULES|ENGINES)",
    re.IGNORECASE,
)
"""Variables that decide which code a program runs, or from where a launcher (uvx, npx, …) fetches it. Without regard
to case: npm and others read their own in any."""
_WAY: Final = re.compile(
    r".*_PROXY|SSL_CERT_.*|SSLKEYLOGFILE|.*_CA_(BUNDLE|CERTS?|FILE|PATH)|NODE_(TLS_.*|USE_.*_CA)|RES_OPTIONS|HOSTALIASES|LOCALDOMAIN",
    re.IGNORECASE,
)
"""Variables that decide through whom a program reaches the network, or whom it trusts there."""

log = logging.getLogger(__name__)


class Reload(Protocol):
    """Puts the configuration to use as it is now, where a file changed or ``force``; returns its servers."""

    def __call__(self, force: bool = False) -> Mapping[str, ServerSpec]:
        """See the class."""


class Refused(Exception):
    """A change that is not made, in words; ``status`` is that of HTTP.

    Attributes:
        problems: what is wrong with an entry, all of it, where that is the reason.
    """

    def __init__(self, status: int, message: str, problems: list[Problem] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.problems = problems or []


@dataclass(frozen=True, slots=True)
class Preview:
    """What an entry would run.

    Attributes:
        digest: what a consent to it names; None while the entry has errors.
        launch: for people: program, arguments, directory, names of variables (:func:`launch_view`).
        spec: the server; None while the entry has errors.
    """

    digest: str | None
    launch: dict[str, Any]
    problems: list[Problem]
    spec: ServerSpec | None
    entry: dict[str, Any]


class Manager:
    """The one file that may be changed, and the consents to what stands in it.

    Args:
        path: the user's own ``mcp.json``; it need not exist.
        allowed: whether anything may be changed.
        reload: see :class:`Reload`.
    """

    def __init__(self, path: str, consents: Consents, *, allowed: bool, reload: Reload) -> None:
        self.path = os.path.abspath(os.path.expanduser(path))
        self._consents = consents
        self._key = consents.key_of(self.path)
        self._file = DefinitionFile(self.path, consents.seal)
        self._allowed = allowed
        self._reload = reload
        self._lock = asyncio.Lock()

    # --- asking ---------------------------------------------------------------------------------

    def needed(self, spec: ServerSpec, entry: Mapping[str, Any]) -> str | None:
        """The digest of what somebody has to agree to before this entry is started; see :func:`config.load`."""
        if not self._is_own(spec.source):
            return None
        digest = self._digest(spec, entry)
        return digest if self._consents.needed(self._key, spec.name, digest) else None

    def _is_own(self, source: str) -> bool:
        """Whether a server comes from the one file, by whatever path the gateway was told of it."""
        return source == self.path or same_file(source, self.path)

    def _digest(self, spec: ServerSpec, entry: Mapping[str, Any]) -> str:
        return self._consents.digest(self._key, spec.name, config.launch_parts(spec, entry))

    def read_only(self, source: str | None = None) -> str:
        """Why an entry of this source cannot be changed, or a new one added; ``""`` if it can."""
        if not self._allowed:
            return "changing servers is switched off (MCPWebSocketApp.allow_editing)"
        if source is not None and not self._is_own(source):
            return f"it is defined in {source}; only entries of {self.path} are changed here"
        reason = self._file.read_only()
        return f"{self.path}: {reason}" if reason else ""

    def definition(self, spec: ServerSpec) -> dict[str, Any]:
        """An entry for a browser, with what is agreed to of it.

        Raises:
            Refused: it cannot be changed here.
        """
        if reason := self.read_only(spec.source):
            raise Refused(409, reason)
        before = self._read()
        entry = self._stored(before, spec.name)
        if not isinstance(entry, dict):
            raise Refused(
                409, f"{self.path}: its entry is not one of an object of servers; change it by hand"
            )
        return self._model(spec.name, entry, before.version)

    def _model(self, name: str, entry: dict[str, Any], version: str) -> dict[str, Any]:
        """An entry as it stands in this version of the file."""
        known = self._consents.of(self._key, name)
        preview = self._preview(name, shown(entry), entry)
        usable = preview.spec is not None and preview.spec.disabled_reason is None
        return {
            "name": name,
            "file": self.path,
            "version": version,
            "entry": shown(entry),
            "consent": None if known is None else {"by": known.by, "at": known.at},
            "awaits": usable and self._consents.needed(self._key, name, preview.digest or ""),
            "digest": preview.digest,
            "launch": preview.launch,
        }

    def preview(self, name: str, entry: dict[str, Any]) -> tuple[Preview, str]:
        """What an entry that is not saved would run, and the version of the file.

        Raises:
            Refused: no entry of this name can be changed or added here.
        """
        self._check_name(name)
        before = self._read()
        return self._preview(name, entry, self._restored(name, entry, before)), before.version

    def _preview(self, name: str, seen: Mapping[str, Any], entry: dict[str, Any]) -> Preview:
        spec, problems = config.check_entry(name, self.path, entry, os.environ)
        if spec is None:
            return Preview(None, {}, problems, None, entry)
        view = launch_view(seen, spec)
        if spec.kind == "stdio" and spec.disabled_reason is None and view["program"] is None:
            words = f"command not found: {view['command']!r}; install it, or give its full path"
            problems = [*problems, Problem(self.path, f"{name}.command", words, "notice")]
        return Preview(self._digest(spec, entry), view, problems, spec, entry)

    def _check_name(self, name: str) -> ServerSpec | None:
        known = self._reload().get(name)
        reason = self.read_only(known.source if known is not None else None)
        if reason:
            raise Refused(409 if self._allowed else 403, reason)
        return known

    def _read(self) -> Snapshot:
        try:
            return self._file.read()
        except DefinitionError as error:
            raise Refused(409, f"{self.path}: {error}") from None

    def _stored(self, before: Snapshot, name: str) -> Any:
        try:
            return before.entry(name)
        except DefinitionError as error:
            raise Refused(409, f"{self.path}: {error}") from None

    def _restored(self, name: str, entry: dict[str, Any], before: Snapshot) -> dict[str, Any]:
        stored = self._stored(before, name)
        try:
            found = restored(entry, stored if isinstance(stored, dict) else None)
            json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
        except DefinitionError as error:
            raise Refused(422, str(error)) from None
        except (ValueError, RecursionError):
            raise Refused(422, "the entry has a lone surrogate, or a number that JSON has not") from None
        return dict(found)

    # --- changing -------------------------------------------------------------------------------

    async def save(
        self, name: str, entry: dict[str, Any], version: str, agreed: str | None, by: str
    ) -> tuple[bool, dict[str, Any]]:
        """Write an entry; returns whether it is a new one, and what stands there now (:meth:`definition`). Without a
        consent to exactly what it runs it is written, and not started.

        Args:
            version: of the file that was looked at.
            agreed: the digest of a preview.

        Raises:
            Refused: nothing was changed.
        """
        async with self._lock:
            known = self._check_name(name)
            before = self._at(version)
            if known is not None and self._stored(before, name) is None:
                raise Refused(409, f"{self.path}: its entry is in a list; change it by hand")
            preview = self._preview(name, entry, self._restored(name, entry, before))
            if preview.digest is None:
                raise Refused(422, "the entry has mistakes", preview.problems)
            if agreed is not None and agreed != preview.digest:
                raise Refused(409, "what it would run is not what was agreed to; look at it again")
            text = self._changed(before, lambda: with_entry(before.text, name, preview.entry))
            consent = self._consent_for(name, preview.digest, agreed, by, before)
            written = await self._write(name, before, text, consent)
            self._reload(force=True)
            model = self._model(name, preview.entry, written)
        log.info("user %r %s the server %s in %s", by, "changed" if known else "added", name, self.path)
        return known is None, model

    def _consent_for(
        self, name: str, digest: str, agreed: str | None, by: str, before: Snapshot
    ) -> Consent | None:
        """What is to be remembered of an entry; None of one that was written by hand and runs the same."""
        if agreed is not None:
            return Consent(digest, by, time.time())
        known = self._consents.of(self._key, name)
        if known is not None:
            return known if known.digest == digest else Consent()
        stored = self._stored(before, name)
        spec = (
            config.check_entry(name, self.path, stored, os.environ)[0] if isinstance(stored, dict) else None
        )
        same = spec is not None and self._digest(spec, stored) == digest
        return None if same else Consent()

    async def remove(self, name: str, version: str, by: str) -> None:
        """Take an entry out of the file; live sessions keep the server they have.

        Raises:
            Refused: nothing was changed.
        """
        async with self._lock:
            if self._check_name(name) is None:
                raise Refused(404, f"there is no server {name!r}")
            before = self._at(version)
            text = self._changed(before, lambda: without_entry(before.text, name))
            await self._write(name, before, text, self._consents.of(self._key, name))
            if self._consents.of(self._key, name) is not None:
                self._forget(name)
            self._reload(force=True)
        log.info("user %r removed the server %s from %s", by, name, self.path)

    def _forget(self, name: str) -> None:
        """Of an entry that is gone. What cannot be forgotten lets another one of its name wait: no harm."""
        try:
            self._consents.set(self._key, name, None)
        except OSError as error:
            log.warning("the consent to the server %s cannot be removed: %s", name, error)

    async def agree(self, name: str, digest: str, by: str) -> None:
        """A user agrees to what an entry of the file runs.

        Raises:
            Refused: it is not what was looked at.
        """
        async with self._lock:
            known = self._check_name(name)
            if known is None:
                raise Refused(404, f"there is no server {name!r}")
            if known.consent is None:
                raise Refused(409, f"the server {name!r} awaits no consent")
            if known.consent != digest:
                raise Refused(409, "what it would run is not what was looked at; look at it again")
            try:
                self._consents.grant(self._key, name, digest, by)
            except OSError as error:
                raise Refused(500, f"the consent cannot be kept: {error.strerror}") from None
            self._reload(force=True)
        log.info("user %r agreed to start the server %s of %s", by, name, self.path)

    def _at(self, version: str) -> Snapshot:
        before = self._read()
        if before.version != version:
            if before.version == MISSING:
                raise Refused(
                    412,
                    f"{self.path} was removed meanwhile; look at the entry again, and saving it makes a new file",
                )
            raise Refused(412, f"{self.path} has changed meanwhile; look at it again")
        return before

    def _changed(self, before: Snapshot, change: Callable[[], str]) -> str:
        try:
            return change()
        except DefinitionError as error:
            raise Refused(409, f"{self.path}: {error}") from None

    async def _write(self, name: str, before: Snapshot, text: str, consent: Consent | None) -> str:
        """Keep the consent and write the file, in words where that fails. Returns the version."""
        loop = asyncio.get_running_loop()
        try:
            return await _to_its_end(
                loop.run_in_executor(None, self._write_both, name, before, text, consent)
            )
        except Changed as error:
            raise Refused(412, f"{self.path}: {error}") from None
        except DefinitionError as error:
            raise Refused(409, f"{self.path}: {error}") from None
        except OSError as error:
            raise Refused(500, f"the consent cannot be kept: {error.strerror}") from None

    def _write_both(self, name: str, before: Snapshot, text: str, consent: Consent | None) -> str:
        """The consent first: what stands in the file meanwhile does not match it, and so waits."""
        past = self._consents.of(self._key, name)
        if consent != past:
            self._consents.set(self._key, name, consent)
        try:
            return self._file.write(before, text)
        except Exception:
            if consent != past:
                self._consents.set(self._key, name, past)
            raise


async def _to_its_end(writing: asyncio.Future[str]) -> str:
    """What a thread has written. Nothing stops it: who is cancelled meanwhile holds on to the lock until it is done."""
    cancelled: asyncio.CancelledError | None = None
    while not writing.done():
        try:
            await asyncio.wait({writing})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return writing.result()


def launch_view(entry: Mapping[str, Any], spec: ServerSpec) -> dict[str, Any]:
    """What an entry would run, for people: as it is written, with what is hidden said to be so.

    ``program`` is the file that would be started, or None; ``values`` has what may be seen of variables; ``notes``
    say what one could overlook.
    """
    environment = config.child_environment(spec, os.environ)
    args = [_text(arg) for arg in entry.get("args") or () if isinstance(arg, (str, dict))]
    usable = spec.command and spec.disabled_reason is None
    written = spec.censored()
    settings = entry.get("mcp_ws")
    return {
        "kind": spec.kind,
        "command": _text(entry.get("command")),
        "program": find_program(spec.command or "", environment) if usable else None,
        "args": args,
        "cwd": written.get("cwd"),
        "env": sorted(spec.env),
        "values": _values(entry.get("env"), spec),
        "url": _text(entry.get("url")),
        "headers": sorted(spec.headers),
        "python": written.get("python"),
        "group": written.get("group", []),
        "ca_file": spec.ca_file,
        "oauth": _oauth(settings.get("oauth") if isinstance(settings, dict) else None, spec),
        "notes": _notes(entry, spec),
    }


def _notes(entry: Mapping[str, Any], spec: ServerSpec) -> list[str]:
    hidden = [str(index + 1) for index, arg in enumerate(entry.get("args") or ()) if isinstance(arg, dict)]
    notes = [
        f"{name} changes which code a program runs, or from where it is fetched"
        for name in spec.env
        if _CODE.fullmatch(name)
    ]
    notes += [
        f"{name} decides through whom it reaches the network, or whom it trusts there"
        for name in spec.env
        if _WAY.fullmatch(name)
    ]
    if hidden:
        notes.append(f"of the arguments, {', '.join(hidden)} cannot be seen in whole: the file has them")
    if spec.kind == "python":
        notes.append("it is imported into Jupyter's own process")
    if spec.ca_file is not None:
        notes.append(f"it trusts the certificates of {spec.ca_file}, and no others")
    return notes


def _values(given: Any, spec: ServerSpec) -> dict[str, str]:
    """Of the variables: what was typed just now, and what is no secret; the browser knows no more."""
    if isinstance(given, list):
        given = {item.get("name"): item.get("value") for item in given if isinstance(item, dict)}
    values = given if isinstance(given, dict) else {}
    return {name: _value(name, values.get(name)) for name in sorted(spec.env)}


def _value(name: str, value: Any) -> str:
    return HIDDEN if value is None or isinstance(value, dict) else config.censor_value(name, str(value))


def _oauth(given: Any, spec: ServerSpec) -> dict[str, str] | None:
    """How tokens are got: what may be seen of it."""
    if spec.oauth is None:
        return None
    values = given if isinstance(given, dict) else {}
    return {
        key: HIDDEN if key == "client_secret" else _text(values.get(key)) or HIDDEN
        for key in sorted(spec.oauth)
    }


def _text(value: Any) -> str | None:
    if isinstance(value, dict):
        return str(value.get("shown", HIDDEN))
    return value if isinstance(value, str) else None
