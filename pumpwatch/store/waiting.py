"""Records that the ledger refuses, kept in a file beside it, so that neither a kill nor a stop loses them."""

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
    """`ledger.waiting.json` of a data folder; any native thread."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / WAITING_NAME
        self._lock = get_original("threading", "Lock")()
        self._is_there = self._said = self._ended = False

    def load(self) -> Records | None:
        """Return what an earlier run left, None where it left nothing. Raises ValueError where it cannot be read."""
        try:
            records = msgspec.json.decode(self.path.read_bytes(), type=Records)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ValueError(str(error)) from error
        self._is_there = True
        return records

    def keep(self, parts: Iterable[Records]) -> None:
        """Have the file hold these and nothing else; where the disk refuses that, they are in memory alone."""
        with self._lock:
            if self._ended:
                return
            try:
                self._put(parts)
                self._said = False
            except OSError as error:
                if not self._said:
                    log.error("records wait in memory alone file=%s reason=%s", self.path.name, error)
                self._said = True

    def forget(self) -> None:
        """Remove it."""
        with self._lock:
            if not self._ended:
                self._remove()

    def end(self, parts: Iterable[Records]) -> bool:
        """Have the file hold these for the next start, whatever is asked of it later; return whether there was anything.

        Raises StorageError where the disk refuses that, or does not answer.
        """
        if not self._lock.acquire(timeout=LOCK_S):
            raise StorageError(f"{self.path}: write failed: the disk does not answer")
        try:
            self._ended = True
            kept = [one for one in parts if one]
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
            self._is_there = self.path.exists()
            raise
        self._is_there = True

    def _remove(self) -> None:
        if self._is_there:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:  # read again at the next start, which is harmless
                log.warning("waiting records not removed file=%s reason=%s", self.path.name, error)
            self._is_there = False


def waiting_gaps(folder: Path) -> list[Gap]:
    """Return the gaps that a ledger has not taken yet; none where the file cannot be read, which a start records."""
    try:
        records = WaitingFile(folder).load()
    except ValueError:
        return []
    return records.gaps if records else []


def _encoded(records: Records) -> bytes:
    """Return JSON, without what no file can hold: that is logged."""
    try:
        return msgspec.json.encode(records)
    except _UNFIT:
        kept = Records()
        for one in records.one_by_one():
            try:
                msgspec.json.encode(one)
            except _UNFIT as error:
                log.error("record not kept for the next start, no file can hold it record=%r reason=%s", one, error)
                continue
            kept.extend(one)
        return msgspec.json.encode(kept)
