"""Keep records that the ledger has not taken in a file beside it, so that neither a kill nor a stop loses them."""

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
        self._content: list[Records] | None = []  # the very objects that the file has, None where that is unknown

    def load(self) -> Records | None:
        """Return the records that an earlier run left, None without any. Raises ValueError where the file is unreadable."""
        try:
            records = msgspec.json.decode(self.path.read_bytes(), type=Records)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ValueError(str(error)) from error
        self._exists, self._content = True, [records]
        return records

    def keep(self, parts: Callable[[], Iterable[Records]]) -> bool:
        """Make the file have these records, or remove it without records; return whether that is done.

        `parts` is called once nobody else changes the file. If the disk refuses, the records are in memory only, which is
        logged.
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


def _same(some: Sequence[Records], others: Sequence[Records]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


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
