"""Keep records that the ledger refuses in a file beside it, so that neither a kill nor a stop loses them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
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

    def load(self) -> Records | None:
        """Return the records that an earlier run left, None without any. Raises ValueError where the file is unreadable."""
        try:
            records = msgspec.json.decode(self.path.read_bytes(), type=Records)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ValueError(str(error)) from error
        self._exists = True
        return records

    def keep(self, parts: Iterable[Records]) -> None:
        """Replace the file's content by these records. Where the disk refuses, they are in memory only, and that is logged."""
        with self._lock:
            if self._ended:
                return
            try:
                self._put(parts)
                self._logged = False
            except OSError as error:
                if not self._logged:
                    log.error("records wait in memory only, a kill would lose them file=%s reason=%s", self.path.name, error)
                self._logged = True

    def forget(self) -> None:
        """Remove the file."""
        with self._lock:
            if not self._ended:
                self._remove()

    def end(self, parts: Iterable[Records]) -> bool:
        """Write these records for the next start, and ignore later calls; return whether there were any.

        Raises StorageError where the disk refuses or does not answer.
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
            except OSError as error:  # the next start reads it again, which is harmless
                log.warning("waiting records not removed file=%s reason=%s", self.path.name, error)
            self._exists = False


def waiting_gaps(folder: Path) -> list[Gap]:
    """Return the gaps that the ledger has not taken yet; none where the file is unreadable, which the next start records."""
    try:
        records = WaitingFile(folder).load()
    except ValueError:
        return []
    return records.gaps if records else []


def _encoded(records: Records) -> bytes:
    """Return JSON. A record that cannot be encoded is logged and left out."""
    try:
        return msgspec.json.encode(records)
    except _UNFIT:
        kept = Records()
        for single in records.one_by_one():
            try:
                msgspec.json.encode(single)
            except _UNFIT as error:
                log.error("record not kept for the next start, no file can hold it record=%r reason=%s", single, error)
                continue
            kept.extend(single)
        return msgspec.json.encode(kept)
