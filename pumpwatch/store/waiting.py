"""Keep the records that the ledger has not taken in a file beside it, so that neither a kill nor a stop loses them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
from gevent.monkey import get_original

from pumpwatch.errors import StorageError
from pumpwatch.model import Gap
from pumpwatch.records import Records
from pumpwatch.store.sqlite import storage_error, write_private

log = logging.getLogger(__name__)

WAITING_NAME = "ledger.waiting.json"
LOCK_S = 1.0
_UNFIT = (ValueError, TypeError, OverflowError)


class WaitingFile:
    """The file `ledger.waiting.json` of a data folder. Safe from any native thread."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / WAITING_NAME
        self._lock = get_original("threading", "Lock")()
        self._exists = self._logged = self._ended = False
        self._content: list[Records] | None = []  # the very objects that the file has; None: unknown

    def load(self) -> Records | None:
        """Return the records that an earlier run left, None without any. Raises ValueError if the file is unreadable."""
        try:
            records = msgspec.json.decode(self.path.read_bytes(), type=Records)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ValueError(str(error)) from error
        self._exists, self._content = True, [records]
        return records

    def keep(self, parts: Callable[[], Iterable[Records]]) -> bool:
        """Write these records to the file, or remove the file if there are none; return whether that is done.

        `parts` is called while the file is locked. If writing fails, the records are only in memory, which is logged.
        """
        with self._lock:
            if self._ended:
                return False
            kept = [records for records in parts() if records]
            if self._content is not None and _same(kept, self._content):
                return True
            self._content = None
            try:
                if kept:
                    self._put(kept)
                else:
                    self._remove()
            except OSError as error:
                if not self._logged:
                    log.error("records wait in memory only, a kill would lose them file=%s reason=%s", self.path.name, error)
                self._logged = True
                return False
            self._content, self._logged = kept, False
            return True

    def end(self, parts: Iterable[Records]) -> bool:
        """Write these records for the next start, and ignore later calls of `keep`; return whether there were any.

        Raises StorageError if the disk fails or does not answer.
        """
        if not self._lock.acquire(timeout=LOCK_S):
            raise StorageError(f"{self.path}: write failed: the disk does not answer")
        try:
            self._ended = True
            kept = [records for records in parts if records]
            if kept:
                self._put(kept)
            else:
                self._remove()
            return bool(kept)
        except OSError as error:
            raise storage_error(self.path, "write", error) from error
        finally:
            self._lock.release()

    def _put(self, parts: Iterable[Records]) -> None:
        records = Records()
        for part in parts:
            records.extend(part)
        try:
            write_private(self.path, _encoded(records))
        except OSError:
            self._exists = self.path.exists()
            raise
        self._exists = True

    def _remove(self) -> None:
        if self._exists:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:  # the next start reads the records again, which is harmless
                log.warning("waiting records not removed file=%s reason=%s", self.path.name, error)
            self._exists = False


def _same(some: Sequence[Records], others: Sequence[Records]) -> bool:
    return len(some) == len(others) and all(records is other for records, other in zip(some, others, strict=True))


def waiting_gaps(folder: Path) -> list[Gap]:
    """Return the gaps that the ledger has not taken yet; an empty list if the file is unreadable."""
    try:
        records = WaitingFile(folder).load()
    except ValueError:
        return []
    return records.gaps if records else []


def _encoded(records: Records) -> bytes:
    """Return the records as JSON. A record that cannot be encoded is logged and left out."""
    try:
        return msgspec.json.encode(records)
    except _UNFIT:
        kept = Records()
        for single in records.one_by_one():
            try:
                msgspec.json.encode(single)
            except _UNFIT as error:
                log.error("record left out of the file, it cannot be encoded record=%r reason=%s", single, error)
                continue
            kept.extend(single)
        return msgspec.json.encode(kept)
