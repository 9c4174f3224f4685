"""Records that the ledger refuses, kept in a file beside it, so that neither a kill nor a stop loses them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec

from pumpwatch.model import Gap
from pumpwatch.records import Records
from pumpwatch.store.sqlite import write_private

log = logging.getLogger(__name__)

WAITING_NAME = "ledger.waiting.json"
_UNFIT = (ValueError, TypeError, OverflowError)


class WaitingFile:
    """`ledger.waiting.json` of a data folder. One thread at a time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / WAITING_NAME
        self.is_there = False  # and holds the last that were to be kept
        self._said = False

    def load(self) -> Records | None:
        """Return what an earlier run left, None where it left nothing. Raises ValueError where it cannot be read."""
        try:
            records = msgspec.json.decode(self.path.read_bytes(), type=Records)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ValueError(str(error)) from error
        self.is_there = True
        return records

    def keep(self, parts: Iterable[Records]) -> None:
        """Have the file hold these and nothing else; where the disk refuses that, they are in memory alone."""
        records = Records()
        for part in parts:
            records.extend(part)
        try:
            write_private(self.path, _encoded(records))
            self.is_there, self._said = True, False
        except OSError as error:
            if not self._said:
                log.error("records wait in memory alone file=%s reason=%s", self.path.name, error)
            self.is_there, self._said = False, True

    def forget(self) -> None:
        """Remove it."""
        if self.is_there:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:  # read again at the next start, which is harmless
                log.warning("waiting records not removed file=%s reason=%s", self.path.name, error)
            self.is_there = False


def waiting_gaps(folder: Path) -> list[Gap]:
    """Return the gaps that a ledger has not taken yet; none where the file cannot be read, which a start records."""
    try:
        records = WaitingFile(folder).load()
    except ValueError:
        return []
    return records.gaps if records else []


def _encoded(records: Records) -> bytes:
    """Return JSON, without what no file can hold: the ledger refuses it for the same reason, and names it."""
    try:
        return msgspec.json.encode(records)
    except _UNFIT:
        kept = Records()
        for one in records.one_by_one():
            try:
                msgspec.json.encode(one)
            except _UNFIT:
                continue
            kept.extend(one)
        return msgspec.json.encode(kept)
