"""Ask a running collector to replace its connections: `pumpwatch renew` puts a small file into its inbox.

The file is written completely or not at all. The collector reads it within a second; an invalid file is removed and logged.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pumpwatch.clock import Clock
from pumpwatch.errors import BadFrame
from pumpwatch.listing.inbox import put_file, read_dropped
from pumpwatch.printable import printable

log = logging.getLogger(__name__)

SUFFIX = ".renew"  # files of notices have another one
FILES_PER_LOOK = 100


class RenewalRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The content of a file. venues: such as `binance.spot`."""

    venues: list[str]


def drop(folder: Path, venues: Sequence[str], clock: Clock | None = None) -> Path:
    """Put a request for these venues into the inbox of a data folder; return the file. Raises StorageError."""
    path = folder / "inbox" / f"{(clock or Clock()).now_ns()}{SUFFIX}"
    put_file(path, msgspec.json.encode(RenewalRequest(list(venues))), "request")
    return path


def take_requests(folder: Path) -> set[str]:
    """Remove the requests in the inbox of a data folder; return the venues that they name."""
    venues: set[str] = set()
    try:
        with os.scandir(folder / "inbox") as entries:
            names = [entry.name for entry in entries if entry.name.endswith(SUFFIX)][:FILES_PER_LOOK]
    except OSError:
        return venues
    for name in sorted(names):
        path = folder / "inbox" / name
        try:
            requested = msgspec.json.decode(read_dropped(path), type=RenewalRequest).venues
        except (msgspec.DecodeError, OSError, BadFrame) as error:
            log.warning("invalid renewal request removed file=%s reason=%s", printable(name), printable(str(error)))
            requested = []
        try:
            path.unlink()
        except OSError:  # a directory, or a read-only folder: it would be applied repeatedly
            continue
        venues.update(requested)
    return venues
