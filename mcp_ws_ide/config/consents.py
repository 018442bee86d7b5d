"""Which entries of a configuration file a user has agreed to have started.

An entry that was written through the gateway (or changed since) is started only after somebody has consented to
exactly what it would run. Kept here: which entries need that, and the digest of what was agreed to. Knows nothing
of what the digested parts mean; :func:`mcp_ws_ide.config.load.launch_parts` says what they are.
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

from mcp_ws_ide.private_files import same_file, write_private

log = logging.getLogger(__name__)


class Consent(msgspec.Struct):
    """What was agreed to: ``digest`` is ``""`` while nothing was. ``at`` in seconds since the epoch."""

    digest: str = ""
    by: str = ""
    at: float = 0.0


class _Stored(msgspec.Struct):
    key: str
    entries: dict[str, dict[str, Consent]]
    strict: bool = False


class Consents:
    """The consents, kept in one file of mode 0600, beside the key of their digests.

    The key makes a digest worthless as a guess: it can only be had from the gateway, and tells nothing of the secrets
    that went into it. A file that cannot be read means that nothing was agreed to, for every entry of every file
    that :meth:`needed` is asked about.

    Args:
        path: the file; its directory is made with mode 0700.
        now: the clock.
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self._key = secrets.token_hex(32)
        self._entries: dict[str, dict[str, Consent]] = {}
        self._strict = False
        """Whether entries of which nothing is known need a consent, too: what was known of them is lost."""
        self._load()

    def _load(self) -> None:
        try:
            stored = msgspec.json.decode(self._path.read_bytes(), type=_Stored)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            log.error("consents in %s are unreadable, so every entry needs a new one: %s", self._path, error)
            self._strict = True
            return
        self._key, self._entries, self._strict = stored.key, stored.entries, stored.strict

    def _save(self, entries: dict[str, dict[str, Consent]]) -> None:
        write_private(self._path, msgspec.json.encode(_Stored(self._key, entries, self._strict)))
        self._entries = entries

    def key_of(self, file: str) -> str:
        """Under which path this file is known: consents outlive another spelling of it."""
        return next((known for known in self._entries if same_file(known, file)), file)

    def seal(self, data: bytes) -> str:
        """A digest that only this installation can make."""
        return hmac.new(self._key.encode(), data, hashlib.sha256).hexdigest()

    def digest(self, file: str, name: str, launch: Mapping[str, Any]) -> str:
        """What is to be agreed to, for one entry of one file."""
        return self.seal(msgspec.json.encode([file, name, launch], order="deterministic"))

    def needed(self, file: str, name: str, digest: str) -> bool:
        """Whether somebody has to agree to this digest before the entry is started."""
        known = self._entries.get(file, {}).get(name)
        if known is None:
            return self._strict
        return not hmac.compare_digest(known.digest, digest)

    def of(self, file: str, name: str) -> Consent | None:
        """What is known of an entry; None of one that needs no consent."""
        return self._entries.get(file, {}).get(name)

    def set(self, file: str, name: str, consent: Consent | None) -> None:
        """Remember this of an entry; None forgets it.

        Raises:
            OSError: nothing was changed.
        """
        entries = {path: dict(known) for path, known in self._entries.items()}
        of_file = entries.setdefault(file, {})
        if consent is None:
            of_file.pop(name, None)
        else:
            of_file[name] = consent
        self._save({path: known for path, known in entries.items() if known})

    def grant(self, file: str, name: str, digest: str, by: str) -> None:
        """A user agrees to what ``digest`` stands for.

        Raises:
            OSError: nothing was changed.
        """
        self.set(file, name, Consent(digest, by, self._now()))
