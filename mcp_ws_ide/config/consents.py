"""Consents: which entries of a configuration file a user has agreed to start.

An entry that was written through the gateway, or changed since, is started only after somebody has consented to
exactly what it would run. Owns which entries need consent, and the digest of what was agreed to. Knows nothing of what
the digested parts mean; see :func:`mcp_ws_ide.config.entry.launch_parts`.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from mcp_ws_ide.private_files import PrivateJsonFile, UnreadableFileError, same_file

log = logging.getLogger(__name__)


class Consent(msgspec.Struct):
    """A consent: the ``digest`` agreed to (``""`` while nothing is), the user, and seconds since the epoch."""

    digest: str = ""
    by: str = ""
    at: float = 0.0


class _ConsentFile(msgspec.Struct):
    key: str
    entries: dict[str, dict[str, Consent]]
    """By path of the configuration file and name of the server."""
    strict: bool = False


class Consents:
    """The consents, kept in one private file beside the key of their digests.

    Only the gateway can compute a digest, which takes the key, and no digest reveals the secrets that went into it.
    If the file cannot be read, every entry that :meth:`needed` is asked about needs a new consent.

    Args:
        path: the file.
        now: the clock, in seconds since the epoch.
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self._file = PrivateJsonFile(path, _ConsentFile)
        self._now = now
        self._key = secrets.token_hex(32)
        self._entries: dict[str, dict[str, Consent]] = {}
        self._strict = False
        """Whether entries without a record need consent too, because the records were lost."""
        self._load()

    def _load(self) -> None:
        try:
            stored = self._file.read()
        except UnreadableFileError as error:
            log.error("consents are lost, so every entry needs a new one: %s", error)
            self._strict = True
            return
        if stored is not None:
            self._key, self._entries, self._strict = stored.key, stored.entries, stored.strict

    def _save(self, entries: dict[str, dict[str, Consent]]) -> None:
        self._file.write(_ConsentFile(self._key, entries, self._strict))
        self._entries = entries

    def key_of(self, file: str) -> str:
        """Return the path under which a file is recorded, however ``file`` spells it."""
        return next((known for known in self._entries if same_file(known, file)), file)

    def seal(self, data: bytes) -> str:
        """Return a digest that only this installation can compute."""
        return hmac.new(self._key.encode(), data, hashlib.sha256).hexdigest()

    def digest(self, file: str, name: str, launch: Mapping[str, Any]) -> str:
        """Return the digest to consent to, for entry ``name`` of ``file`` that runs ``launch``."""
        return self.seal(msgspec.json.encode([file, name, launch], order="deterministic"))

    def needed(self, file: str, name: str, digest: str) -> bool:
        """Return whether this digest needs consent before the entry is started."""
        consent = self._entries.get(file, {}).get(name)
        if consent is None:
            return self._strict
        return not hmac.compare_digest(consent.digest, digest)

    def of(self, file: str, name: str) -> Consent | None:
        """Return the record of an entry; None if the entry needs no consent."""
        return self._entries.get(file, {}).get(name)

    def set(self, file: str, name: str, consent: Consent | None) -> None:
        """Replace the record of an entry; None removes it.

        Raises:
            OSError: nothing was changed.
        """
        entries = {path: dict(of_file) for path, of_file in self._entries.items()}
        of_file = entries.setdefault(file, {})
        if consent is None:
            of_file.pop(name, None)
        else:
            of_file[name] = consent
        self._save({path: of_file for path, of_file in entries.items() if of_file})

    def grant(self, file: str, name: str, digest: str, by: str) -> None:
        """Note that user ``by`` consents to what ``digest`` stands for.

        Raises:
            OSError: nothing was changed.
        """
        self.set(file, name, Consent(digest, by, self._now()))
