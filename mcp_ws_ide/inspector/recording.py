"""Recordings: a header line, then one tap record per line as received; compressed if the name ends in ``.zst``.

====================  =====================================================================================
header                meaning
====================  =====================================================================================
``format``            ``mcp-ws-recording``
``version``           :data:`VERSION`; readers refuse newer versions
``time``              start, as Unix time in seconds
``gateway``           base URL of the gateway, without credential
``instance``          identifies the tap feed, if the gateway reported one; else null
``program``           the program that wrote it
====================  =====================================================================================

Each batch is handed to the kernel at once (compressed: as a complete block), so that a crash loses at most the line
being written; :class:`Recording` reads up to the last complete line and reports what is missing. Knows nothing of what
records mean.
"""

from __future__ import annotations

import contextlib
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

from mcp_ws_ide.core.reader import encoding_of
from mcp_ws_ide.errors import McpWsError
from mcp_ws_ide.inspector.model.records import LATEST
from mcp_ws_ide.version import __version__

FORMAT: Final = "mcp-ws-recording"
VERSION: Final = 1
MAX_LINE: Final = 64 << 20
"""Longest line, in bytes; a longer one is not a record."""
CHUNK: Final = 256 << 10
SMALL: Final = 4 << 10
"""Compressed bytes that are read at a time."""
PIECE: Final = 256
"""Compressed bytes that are decompressed at a time: at most some 8 MiB, as a block of 128 KiB needs four."""
ALWAYS_EXPANDED: Final = 64 << 20
"""Bytes that a compressed recording may always hold; beyond them, :data:`MAX_RATIO` counts."""
MAX_RATIO: Final = 200
"""Decompressed bytes for each compressed byte: more than that is not traffic, but an attack on memory."""
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
STANDARD: Final = "-"
"""The file name for standard input or output."""


class RecordingError(McpWsError):
    """A recording cannot be written or read; the text says why."""


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a recording; ``version`` 0 means that it has none (output of ``tail --json``)."""

    time: float = 0.0
    gateway: str = ""
    instance: str | None = None
    version: int = VERSION

    def line(self) -> str:
        """Return the header as a line of JSON."""
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
    """Return a record that marks a gap: records may be missing here."""
    return json.dumps({"time": moment, "mono": mono, "kind": "gap", "method": "gap", "raw": reason})


# --- writing -------------------------------------------------------------------------------------


class Recorder:
    """Writes one recording, readable only by its owner; use it as a context manager, or :meth:`close` it.

    Raises:
        RecordingError: the file exists, or cannot be written; afterwards nothing more is written.
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
        """Append records, each as JSON text, and hand them to the kernel."""
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
        """Finish the file; may be called twice."""
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
    return io.FileIO(create_private(path, overwrite), "wb")


def create_private(path: str, overwrite: bool) -> int:
    """Create a file that only its owner may read, and return its descriptor.

    An existing file is replaced, not written into: others may have it open, or may read it. A link is not followed.
    A pipe or device is opened as it is.

    Raises:
        RecordingError: the file exists and ``overwrite`` is not set, or it cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        if _is_device(path):  # it was given on purpose
            return os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        if overwrite:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        return os.open(path, flags, 0o600)
    except FileExistsError:
        raise RecordingError(f"{path} exists; choose another name, or overwrite it with --force") from None
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path} cannot be written: {getattr(error, 'strerror', error)}") from None


def _is_device(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _zstd() -> Any:
    """Return the standard library's module (Python 3.14), which has ``ZstdFile``, or the package ``zstandard``."""
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        try:
            import zstandard as zstd
        except ImportError:
            reason = "compressed recordings need zstandard; pip install 'mcp-ws-ide[zstd]', or use a name without .zst"
            raise RecordingError(reason) from None
    return zstd


def _compressor() -> Callable[[bytes, bool], bytes]:
    """Return a function of data and a flag for the last piece; each call ends a block."""
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
    """One recording, read once from start to end.

    Args:
        path: its file.
        most: bytes to decompress at most; None for a limit that follows from the size of the file.

    Attributes:
        header: its header.
        note: what is wrong with the end of the file; ``""`` if nothing is.
    """

    def __init__(self, path: str, most: int | None = None) -> None:
        self.path = path
        self.note = ""
        self._most = most
        self._file = _open(path)
        self._pieces = self._lines()
        self._first: bytes | None = None
        try:
            self.header = self._read_header()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read_header(self) -> Header:
        first = next(self._pieces, b"")
        try:
            header = json.loads(first)
        except (ValueError, RecursionError):
            header = None
        if not isinstance(header, dict) or encoding_of(first):
            encoding = encoding_of(first)
            reason = (
                f"it is in {encoding.upper()}; write it with -o FILE, not with > of a shell"
                if encoding
                else ""
            )
            reason = reason or (
                "it is empty" if not first and not self.note else "it does not begin with a JSON object"
            )
            raise RecordingError(f"{self.path} is not a recording: {reason}")
        if "format" not in header and "kind" in header and "mono" in header:
            self._first = first  # only records, as printed by ``tail --json``
            return Header(version=0)
        return _header(self.path, header)

    def batches(self, size: int = 500) -> Iterator[list[str]]:
        """Yield the records, ``size`` at a time.

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
        parts: list[bytes] = []  # of the line that has not ended
        size = 0
        for data in self._data():
            *ended, rest = data.split(b"\n")
            if ended:
                ended[0] = b"".join((*parts, ended[0]))
                parts, size = [], 0
            parts.append(rest)
            size += len(rest)
            if size > MAX_LINE:
                raise RecordingError(
                    f"{self.path} is not a recording: it has a line of more than {MAX_LINE >> 20} MiB"
                )
            yield from (line for line in ended if line.strip())
        rest = b"".join(parts)
        if rest.strip():
            if _is_whole(rest):
                yield rest
            else:
                self._cut(f"{len(rest)} bytes of an incomplete line were skipped")

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
        taken = expanded = 0
        while data:
            try:
                if machine.eof:  # frames may follow each other, as ``cat`` produces them
                    machine = _decompressor()
                piece = machine.decompress(data[:PIECE])
            except Exception as error:  # each library has its own error; a damaged file ends here
                if isinstance(error, (RecordingError, MemoryError)):
                    raise
                self._cut(f"the rest is damaged: {error}")
                return
            left = machine.unused_data + data[PIECE:]
            taken, expanded = taken + len(data) - len(left), expanded + len(piece)
            self._check_expansion(taken, expanded)
            yield piece
            data = left or self._file.read(SMALL)
        if not machine.eof:
            self._cut("the compressed data is incomplete")

    def _check_expansion(self, taken: int, expanded: int) -> None:
        """Refuse to decompress further than a recording of traffic could need."""
        most = max(ALWAYS_EXPANDED, MAX_RATIO * taken) if self._most is None else self._most
        if expanded > most:
            raise RecordingError(
                f"{self.path} holds more than {most >> 20} MiB after {taken} compressed bytes, which is more than this "
                "program reads; if you trust it, give --max-mib with the MiB to read"
            )

    def _cut(self, reason: str) -> None:
        self.note = self.note or f"{self.path} is truncated: {reason}"


def _header(path: str, header: dict[str, Any]) -> Header:
    if header.get("format") != FORMAT:
        raise RecordingError(
            f"{path} is not a recording of mcp-ws-inspect: its format is {str(header.get('format'))[:40]!r}"
        )
    version = header.get("version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise RecordingError(f"{path} has no valid format version; it may be damaged")
    if version > VERSION:
        raise RecordingError(
            f"{path} has format version {version}, but mcp-ws-ide {__version__} reads up to {VERSION}; upgrade it"
        )
    moment, gateway, instance = header.get("time"), header.get("gateway"), header.get("instance")
    return Header(
        float(moment) if isinstance(moment, (int, float)) and 0 <= moment <= LATEST else 0.0,
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
        # Unbuffered, so that a pipe returns what it has: a live stream must not wait for more.
        return open(os.dup(sys.stdin.fileno()) if path == STANDARD else path, "rb", buffering=0)
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
