"""What the rows of a session file contain: MessagePack, sealed as a whole.

A row opens only in its place: a session where its id is, the entries of a commit where its number is. Sealing
whole rows costs one operation for each turn of the event loop, however many sessions and frames are in it, and shows
less than sealing values would: of a session only its id, of a commit nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from mcp_ws_ide.engines.base import SessionLostError, StoredSession
from mcp_ws_ide.engines.keys import Sealer, TamperedError, UnknownKeyError, load_sealer
from mcp_ws_ide.engines.log_entries import Entry

_LOG_PLACE: Final = b"log %d"
"""The place of a row of the log."""
_encode = msgspec.msgpack.Encoder().encode
_decode_entries = msgspec.msgpack.Decoder(list[Entry]).decode
_decode_session = msgspec.msgpack.Decoder(StoredSession).decode


class LostLogError(Exception):
    """The log was sealed with a key that is missing; the text is the key's id."""


class DamagedRowError(ValueError):
    """A row of the log is not what was stored."""


class Rows:
    """Rows of one session file.

    Args:
        keys_file: path of the key file; None leaves the rows unsealed.
    """

    def __init__(self, keys_file: Path | None) -> None:
        self._keys_file = keys_file
        self._sealer: Sealer | None = None

    @property
    def keys_file(self) -> str:
        """The path of the key file, for messages."""
        return str(self._keys_file)

    def load_keys(self) -> None:
        """Read the keys, before anything else.

        Raises:
            EngineRefusedError: they cannot be used.
        """
        if self._keys_file is not None:
            self._sealer = load_sealer(self._keys_file)

    def session(self, stored: StoredSession) -> bytes:
        """Return the row of a session."""
        data = _encode(stored)
        return data if self._sealer is None else self._sealer.seal(data, _of_session(stored.id))

    def entries(self, number: int, entries: list[Entry]) -> bytes:
        """Return row ``number`` of the log."""
        data = _encode(entries)
        return data if self._sealer is None else self._sealer.seal(data, _LOG_PLACE % number)

    def is_newest(self, row: bytes) -> bool:
        """Return whether a row is sealed with the newest key."""
        return self._sealer is None or self._sealer.is_newest(row)

    def read_session(self, session: str, row: bytes) -> StoredSession:
        """Return the session in a row.

        Raises:
            SessionLostError: it cannot be read.
        """
        try:
            data = row if self._sealer is None else self._sealer.open(row, _of_session(session))
            stored = _decode_session(data)
        except UnknownKeyError as error:
            reason = f"its key {error} is not in {self.keys_file!r}"
            raise SessionLostError("key", _cannot_be_opened(session, reason)) from None
        except (TamperedError, msgspec.DecodeError):
            raise SessionLostError(
                "damaged", _cannot_be_opened(session, "it is not what was stored")
            ) from None
        return stored

    def read_log(self, rows: Iterable[tuple[int, bytes]]) -> list[Entry]:
        """Return all entries of the log, in order: all of them, or none.

        Raises:
            LostLogError: a key is missing.
            DamagedRowError: it is not what was stored.
        """
        entries: list[Entry] = []
        for number, row in rows:
            try:
                data = row if self._sealer is None else self._sealer.open(row, _LOG_PLACE % number)
                entries += _decode_entries(data)
            except UnknownKeyError as error:
                raise LostLogError(str(error)) from None
            except TamperedError:
                raise DamagedRowError(f"row {number} of the log is damaged") from None
            except msgspec.DecodeError as error:
                raise DamagedRowError(str(error)) from None
        return entries


def _of_session(session: str) -> bytes:
    """Return the place of a session's row; the word is part of the format of the file."""
    return b"record %b" % session.encode()


def _cannot_be_opened(session: str, reason: str) -> str:
    return f"the stored session {session!r} cannot be opened: {reason}"
