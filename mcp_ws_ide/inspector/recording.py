"""Recordings: a header line, then tap records as they came, one a line; compressed where the name says ``.zst``.

====================  =====================================================================================
header                meaning
====================  =====================================================================================
``format``            ``mcp-ws-recording``
``version``           :data:`VERSION`; a reader refuses a newer one
``time``              epoch seconds at which it was begun
``gateway``           base URL of the gateway, without credential
``instance``          which run of the gateway it was, as far as the gateway said; else null
``program``           what wrote it
====================  =====================================================================================

Every batch is handed to the kernel at once (of a compressed file: as a whole block), so that a crash costs
at most the line that was being written; :func:`read` goes up to the last whole line and says what is missing.
Knows nothing of what records mean.
"""

from __future__ import annotations

import io
import json
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Final, Self
from urllib.parse import urlsplit, urlunsplit

from mcp_ws_ide.errors import McpWsError
from mcp_ws_ide.version import __version__

FORMAT: Final = "mcp-ws-recording"
VERSION: Final = 1
MAX_LINE: Final = 64 << 20
"""Bytes of one line; a longer one is no record."""
CHUNK: Final = 256 << 10
SMALL: Final = 4 << 10
"""Compressed bytes that are taken at a time: what unfolds from them is held in memory."""
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
STANDARD: Final = "-"
"""The name that means standard input or output."""


class RecordingError(McpWsError):
    """A recording cannot be written or read; the text says why."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a recording says of itself; ``version`` 0 means that it has no header (``tail --json``)."""

    time: float = 0.0
    gateway: str = ""
    instance: str | None = None
    version: int = VERSION

    def line(self) -> str:
        """As it is written."""
        members: dict[str, Any] = {
            "format": FORMAT,
            "version": self.version,
            "time": self.time,
            "gateway": _without_credential(self.gateway),
            "instance": self.instance,
            "program": f"mcp-ws-ide {__version__}",
        }
        return json.dumps(members)


def _without_credential(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def gap_line(moment: float, mono: float, reason: str) -> str:
    """The record that says that from here on something may be missing."""
    return json.dumps({"time": moment, "mono": mono, "kind": "gap", "method": "gap", "raw": reason})


# --- writing -------------------------------------------------------------------------------------


class Recorder:
    """Writes one recording; readable by its owner alone. Use as a context manager, or :meth:`close` it.

    Raises:
        RecordingError: the file is there already, or cannot be written. After that nothing more is written.
    """

    def __init__(self, path: str, header: Header, *, overwrite: bool = False) -> None:
        self.path = path
        self.records = 0
        self.bytes = 0
        self._compress = _compressor() if path.endswith(".zst") else None
        self._file = _create(path, overwrite)
        try:
            self._write(header.line() + "\n")
        except RecordingError:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, lines: Iterable[str]) -> None:
        """Append records, JSON text each, and hand them to the kernel."""
        whole = [line for line in lines if line]
        if whole:
            self._write("\n".join(whole) + "\n")
            self.records += len(whole)

    def _write(self, text: str) -> None:
        data = text.encode(errors="replace")
        self.bytes += len(data)
        self._put(data if self._compress is None else self._compress(data, False))

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise RecordingError(f"{self.path} cannot be written: {error.strerror or error}") from None

    def close(self) -> None:
        """End it; may be called twice."""
        if self._file.closed:
            return
        try:
            if self._compress is not None:
                self._put(self._compress(b"", True))
        finally:
            self._file.close()


def _create(path: str, overwrite: bool) -> io.FileIO:
    if path == STANDARD:
        return io.FileIO(os.dup(sys.stdout.fileno()), "wb")
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if overwrite else os.O_EXCL)
    try:
        if _is_device(path):  # a pipe or a device is there by intention
            flags = os.O_WRONLY | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        raise RecordingError(f"{path} is there already; give another name, or --force") from None
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path} cannot be written: {getattr(error, 'strerror', error)}") from None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.fchmod(descriptor, 0o600)
    return io.FileIO(descriptor, "wb")


def _is_device(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _zstd() -> Any:
    """The standard library's module (Python 3.14), else the package ``zstandard``; told apart by ``ZstdFile``."""
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        try:
            import zstandard as zstd
        except ImportError:
            words = "compressed recordings need zstandard: pip install 'mcp-ws-ide[zstd]', or leave .zst off"
            raise RecordingError(words) from None
    return zstd


def _compressor() -> Callable[[bytes, bool], bytes]:
    """A function of data and whether it is the last; each call ends a block."""
    zstd = _zstd()
    if hasattr(zstd, "ZstdFile"):
        standard = zstd.ZstdCompressor()
        block, last = standard.FLUSH_BLOCK, standard.FLUSH_FRAME
        return lambda data, end: bytes(standard.compress(data, last if end else block))
    package = zstd.ZstdCompressor().compressobj()
    block, last = zstd.COMPRESSOBJ_FLUSH_BLOCK, zstd.COMPRESSOBJ_FLUSH_FINISH
    return lambda data, end: bytes(package.compress(data) + package.flush(last if end else block))


def _decompressor() -> Any:
    zstd = _zstd()
    return zstd.ZstdDecompressor() if hasattr(zstd, "ZstdFile") else zstd.ZstdDecompressor().decompressobj()


# --- reading -------------------------------------------------------------------------------------


class Recording:
    """One recording, read once from front to back.

    Attributes:
        header: what it says of itself.
        note: what is wrong with its end, in words; ``""`` while all is well.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.note = ""
        self._file = _open(path)
        self._pieces = self._lines()
        self._first: bytes | None = None
        try:
            self.header = self._read_header()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def _read_header(self) -> Header:
        first = next(self._pieces, b"")
        try:
            found = json.loads(first)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise RecordingError(f"{self.path} is no recording: it does not begin with a JSON object")
        if "format" not in found and "kind" in found and "mono" in found:
            self._first = first  # records alone, as ``tail --json`` prints them
            return Header(version=0)
        return _header(self.path, found)

    def batches(self, size: int = 500) -> Iterator[list[str]]:
        """The records, ``size`` at a time.

        Raises:
            RecordingError: the file cannot be read further.
        """
        batch = [self._first.decode(errors="replace")] if self._first is not None else []
        for line in self._pieces:
            batch.append(line.decode(errors="replace"))
            if len(batch) >= size:
                yield batch
                batch = []
        if batch:
            yield batch

    def _lines(self) -> Iterator[bytes]:
        rest = b""
        for data in self._data():
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > MAX_LINE:
                raise RecordingError(f"{self.path} is no recording: a line of more than {MAX_LINE >> 20} MiB")
            yield from (line for line in lines if line.strip())
        if rest.strip():
            if _is_whole(rest):
                yield rest
            else:
                self._cut(f"{len(rest)} bytes of an unfinished line were left out")

    def _data(self) -> Iterator[bytes]:
        try:
            data = self._file.read(SMALL)
            if data.startswith(ZSTD_MAGIC):
                yield from self._decompressed(data)
                return
            while data:
                yield data
                data = self._file.read(CHUNK)
        except OSError as error:
            raise RecordingError(f"{self.path} cannot be read: {error.strerror or error}") from None

    def _decompressed(self, data: bytes) -> Iterator[bytes]:
        machine = _decompressor()
        while data:
            try:
                if machine.eof:  # frames may follow each other, as ``cat`` leaves them
                    machine = _decompressor()
                yield machine.decompress(data)
            except Exception as error:  # each library has its own; a damaged file ends here
                if isinstance(error, (RecordingError, MemoryError)):
                    raise
                self._cut(f"what follows is damaged: {error}")
                return
            data = machine.unused_data or self._file.read(SMALL)
        if not machine.eof:
            self._cut("the compressed data has no end")

    def _cut(self, words: str) -> None:
        self.note = self.note or f"{self.path} was cut off: {words}"


def _header(path: str, found: dict[str, Any]) -> Header:
    if found.get("format") != FORMAT:
        raise RecordingError(
            f"{path} is no recording of mcp-ws-inspect: format {str(found.get('format'))[:40]!r}"
        )
    version = found.get("version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise RecordingError(f"{path} says no version of its format; is it damaged?")
    if version > VERSION:
        raise RecordingError(
            f"{path} is a recording of version {version}; mcp-ws-ide {__version__} reads up to {VERSION}: upgrade it"
        )
    moment, gateway, instance = found.get("time"), found.get("gateway"), found.get("instance")
    return Header(
        float(moment) if isinstance(moment, (int, float)) else 0.0,
        gateway if isinstance(gateway, str) else "",
        instance if isinstance(instance, str) else None,
        version,
    )


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _open(path: str) -> IO[bytes]:
    try:
        # Buffered for whole reads, but a pipe gives what it has: a live stream must not wait for more.
        return open(os.dup(sys.stdin.fileno()) if path == STANDARD else path, "rb", buffering=0)
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
