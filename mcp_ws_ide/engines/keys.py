"""The keys that seal stored sessions: one file of mode 0600, with several keys, the newest of which seals.

Knows nothing of what is sealed. Losing the file loses every stored session; whoever has it and the engine's data can
read them.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import logging
import os
import secrets
import stat
import sys
import time
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mcp_ws_ide.engines.base import EngineRefusedError
from mcp_ws_ide.private_files import PrivateJsonFile, UnreadableFileError

KEY_BYTES: Final = 32
"""AES-256, and keys of HMAC-SHA-256."""
ID_BYTES: Final = 4
"""Bytes of a key's id, which begin every sealed value."""
NONCE_BYTES: Final = 12
"""Bytes of a nonce (NIST SP 800-38D section 8.2), which follow the id."""
PREFIX_BYTES: Final = 8
"""Bytes of a nonce that are random for each :class:`Sealer`; the rest counts."""
NONCES_PER_PREFIX: Final = 1 << 8 * (NONCE_BYTES - PREFIX_BYTES)
ROTATE_SECONDS: Final = 30 * 86400.0
"""Age of the newest key at which a start adds another one."""
RETIRE_SECONDS: Final = 60 * 86400.0
"""Age at which a start deletes a key, unless it was the newest until then: at a start, or when they are taken over,
sessions are sealed with the newest one."""
ADMINISTRATOR: Final = 0
"""The user id that a mounted secret belongs to."""
HASH_CHARACTERS: Final = 32
"""Characters of a hashed principal, after the fingerprint of its key: 128 bits."""

log = logging.getLogger(__name__)


class UnknownKeyError(Exception):
    """A value was sealed with a key that the file does not have; the text is the key's id."""


class TamperedError(Exception):
    """A value is damaged, or was moved from another place."""


class Key(msgspec.Struct, frozen=True):
    """One key, in hexadecimal and Base64. ``created`` is in seconds since the epoch."""

    id: str
    created: float
    secret: str


class KeyFile(msgspec.Struct):
    """The content of the file.

    Attributes:
        principals: the key that hashes principals; it is never rotated, because their sessions could not be found then.
        keys: the keys that seal, oldest first.
    """

    principals: str
    keys: list[Key]


class Sealer:
    """Seals values with the newest key, and opens those sealed with any.

    Attributes:
        fingerprint: begins every hashed principal; tells whether it was hashed with this file's key.
        peer_key: shared by the gateways that have this file, for their connections.
        client_key: signs the registrations of OAuth clients; it is never rotated, as they last.
    """

    def __init__(self, content: KeyFile) -> None:
        self._ciphers = {bytes.fromhex(key.id): AESGCM(_decoded(key.secret)) for key in content.keys}
        self._newest = bytes.fromhex(content.keys[-1].id)
        self._seal = self._ciphers[self._newest].encrypt
        self._principals = _decoded(content.principals)
        self.fingerprint = hmac.digest(self._principals, b"fingerprint", "sha256").hex()[:8]
        self.peer_key = hmac.digest(self._principals, b"peer", "sha256")
        self.client_key = hmac.digest(self._principals, b"clients", "sha256")
        self._names = secrets.token_bytes(16)
        self._prefix, self._count = b"", NONCES_PER_PREFIX

    def seal(self, value: bytes, place: bytes) -> bytes:
        """Return ``value`` sealed; it opens only for the same ``place``."""
        if self._count >= NONCES_PER_PREFIX:
            self._prefix, self._count = secrets.token_bytes(PREFIX_BYTES), 0
        nonce = self._prefix + self._count.to_bytes(NONCE_BYTES - PREFIX_BYTES)
        self._count += 1
        return b"%b%b%b" % (self._newest, nonce, self._seal(nonce, value, place))

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Return the value that was sealed for this place.

        Raises:
            UnknownKeyError: its key is not in the file.
            TamperedError: it is not what was sealed here.
        """
        cipher = self._ciphers.get(sealed[:ID_BYTES])
        if cipher is None:
            raise UnknownKeyError(sealed[:ID_BYTES].hex())
        start = ID_BYTES + NONCE_BYTES
        try:
            return cipher.decrypt(sealed[ID_BYTES:start], sealed[start:], place)
        except (InvalidTag, ValueError):
            raise TamperedError from None

    def is_newest(self, sealed: bytes) -> bool:
        """Return whether a value was sealed with the newest key."""
        return sealed[:ID_BYTES] == self._newest

    def principal(self, principal: str) -> str:
        """Return the hash of a principal, the same each time."""
        digest = hmac.digest(self._principals, principal.encode(), "sha256").hex()
        return f"{self.fingerprint}{digest[:HASH_CHARACTERS]}"

    def name(self, name: bytes) -> bytes:
        """Return a hash of a request's id: 8 bytes, the same each time in this process, and in no other.

        It is Python's own SipHash of a random secret, which is stored nowhere, followed by the id. A name has to be the
        same only for one owner: a take-over leaves no request in flight.
        """
        return hash(self._names + name).to_bytes(8, signed=True)


def load_sealer(path: Path, *, rotate: bool = True) -> Sealer:
    """Return the keys of a file, which is created if it is missing.

    Args:
        rotate: whether to add a new key if the newest is old; not where several gateways have copies of the file.

    Raises:
        EngineRefusedError: the file cannot be read or written, or belongs to another user.
    """
    file = PrivateJsonFile(path, KeyFile)
    _check_owner(path)
    try:
        content = _usable(file)
        now = time.time()
        if content is None:
            content = KeyFile(_encoded(secrets.token_bytes(KEY_BYTES)), [_new_key(now)])
            file.write(content)
        elif rotate and now - content.keys[-1].created > ROTATE_SECONDS:
            _rotate(file, content, now)
        return Sealer(content)
    except OSError as error:
        raise EngineRefusedError(f"the key file {str(path)!r} cannot be written: {error.strerror}") from None


def _rotate(file: PrivateJsonFile[KeyFile], content: KeyFile, now: float) -> None:
    """Add a key, and delete old ones, if the file can be written."""
    *older, last = content.keys
    kept = [*(key for key in older if now - key.created <= RETIRE_SECONDS), last]
    rotated = KeyFile(content.principals, [*kept, _new_key(now)])
    try:
        file.write(rotated)
    except OSError as error:
        log.info(
            "the key file %r is not rotated, as it cannot be written: %s", str(file.path), error.strerror
        )
        return
    content.keys = rotated.keys
    log.info("a new key seals stored sessions; %d older ones are kept", len(kept))


def _usable(file: PrivateJsonFile[KeyFile]) -> KeyFile | None:
    """Return the content of the file; None if there is none. One that cannot be used is renamed."""
    try:
        content = file.read()
        if content is not None:
            Sealer(content)
        return content
    except UnreadableFileError as error:
        if isinstance(error.__cause__, OSError):
            raise EngineRefusedError(f"the key file cannot be read: {error}") from None
        reason = str(error)
    except (ValueError, IndexError):
        reason = f"{file.path} holds no usable key"
    aside = file.path.with_name(file.path.name + ".damaged")
    os.replace(file.path, aside)
    log.error("the key file is damaged, and was renamed to %r: %s", aside.name, reason)
    return None


def _check_owner(path: Path) -> None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise EngineRefusedError(f"the key file {str(path)!r} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise EngineRefusedError(f"the key file {str(path)!r} is not a file")
    if status.st_uid not in (os.geteuid(), ADMINISTRATOR):
        raise EngineRefusedError(f"the key file {str(path)!r} belongs to another user")
    if status.st_uid != os.geteuid():
        return _check_closed(path, status.st_mode)
    if status.st_mode & 0o077:
        try:
            os.chmod(path, 0o600)
        except OSError:  # it is mounted read-only
            return _check_closed(path, status.st_mode)
        log.warning(
            "the key file %r was open to other users; its mode is 0600 now; delete it to replace its keys, "
            "which loses the stored sessions",
            str(path),
        )
    return None


def _check_closed(path: Path, mode: int) -> None:
    """Check that only owner and group may read a file whose mode the gateway cannot change."""
    if mode & 0o007:
        raise EngineRefusedError(
            f"the key file {str(path)!r} is open to all users; set its mode to 0640 or 0440"
        )


def _new_key(now: float) -> Key:
    return Key(secrets.token_hex(ID_BYTES), now, _encoded(secrets.token_bytes(KEY_BYTES)))


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decoded(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    if len(data) != KEY_BYTES:
        raise ValueError("a key must have 32 bytes")
    return data


def main(argv: list[str] | None = None) -> int:
    """``python -m mcp_ws_ide.engines.keys FILE``: create a key file for several gateways."""
    parser = argparse.ArgumentParser(
        description="Create a file of keys that seal stored sessions, if there is none."
    )
    parser.add_argument("file", type=Path)
    try:
        load_sealer(parser.parse_args(argv).file, rotate=False)
    except EngineRefusedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
