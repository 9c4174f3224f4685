"""The log as a file: `pumpwatch.log` in a folder, rotated by size and by age; the oldest files are removed.

A separate thread writes, so that a slow disk blocks nothing else. If it falls behind by LINES lines, further lines are left out,
and the file says how many.
"""

from __future__ import annotations

import gzip
import logging
import logging.handlers
import shutil
import time
from _queue import SimpleQueue
from pathlib import Path

from gevent.monkey import get_original

from pumpwatch.config_log import LogConfig
from pumpwatch.store.sqlite import private_folder, storage_error

NAME = "pumpwatch.log"
LINES = 50_000
CLOSE_S = 2.0


class Rotated(logging.handlers.RotatingFileHandler):
    """A file that is rotated by size, and by age as well; rotated files are compressed."""

    def __init__(self, config: LogConfig) -> None:
        super().__init__(Path(config.folder) / NAME, maxBytes=int(config.file_mb * 1_000_000), backupCount=config.files,
                         encoding="utf-8", errors="replace")
        self._most_s, self._began_s = config.file_hours * 3600, _began_s(Path(self.baseFilename))
        self.namer, self.rotator = _compressed_name, _compress

    def shouldRollover(self, record: logging.LogRecord) -> int:
        if self._most_s and time.time() - self._began_s >= self._most_s and Path(self.baseFilename).stat().st_size:
            return 1
        return int(super().shouldRollover(record))

    def doRollover(self) -> None:
        super().doRollover()
        self._began_s = time.time()


def _began_s(path: Path) -> float:
    """Return when a file was begun, from its first line; now for a new file."""
    try:
        with path.open("rb") as file:
            head = file.readline(200).removeprefix(b'{"time":"')[:19].decode("ascii", "replace")
        return float(time.mktime(time.strptime(head, "%Y-%m-%dT%H:%M:%S"))) - time.timezone
    except (OSError, ValueError):
        return time.time()


def _compressed_name(name: str) -> str:
    return f"{name}.gz"


def _compress(source: str, target: str) -> None:
    """Compress the finished file, or move a compressed file to its next name."""
    if source.endswith(".gz"):
        Path(source).replace(target)
        return
    with Path(source).open("rb") as plain, gzip.open(target, "wb", compresslevel=6) as packed:
        shutil.copyfileobj(plain, packed, 1 << 20)
    Path(source).unlink()


class LogFile(logging.Handler):
    """Passes lines to the thread that writes them. May be used in any thread."""

    def __init__(self, config: LogConfig) -> None:
        """Open the file. Raises StorageError if the folder is not writable."""
        super().__init__()
        self._of = (config.folder, config.file_mb, config.file_hours, config.files)
        try:
            private_folder(Path(config.folder))
            self._file = Rotated(config)
        except OSError as error:
            raise storage_error(Path(config.folder) / NAME, "open", error) from error
        self._file.setFormatter(logging.Formatter("%(message)s"))
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._left_out = 0
        self._ended = get_original("_thread", "allocate_lock")()
        self._ended.acquire()
        get_original("_thread", "start_new_thread")(self._write, ())

    def is_of(self, config: LogConfig) -> bool:
        """Return whether it has the options of this config."""
        return self._of == (config.folder, config.file_mb, config.file_hours, config.files)

    def emit(self, record: logging.LogRecord) -> None:
        if self._lines.qsize() >= LINES:
            self._left_out += 1
            return
        self._lines.put(self.format(record))

    def _write(self) -> None:
        """Write lines until `close`. This is the body of the thread."""
        while (line := self._lines.get()) is not None:
            if self._left_out:
                line = f"{line}\n{self._left_out} lines were left out: the disk was too slow"
                self._left_out = 0
            self._file.emit(logging.LogRecord("", logging.INFO, "", 0, line, None, None))
        self._file.close()
        self._ended.release()

    def end(self) -> None:
        """Let the thread write waiting lines and close the file. Returns at once, so the hub may call it."""
        self._lines.put(None)

    def close(self) -> None:
        """Write waiting lines, for at most CLOSE_S."""
        self._lines.put(None)
        self._ended.acquire(timeout=CLOSE_S)
        super().close()

