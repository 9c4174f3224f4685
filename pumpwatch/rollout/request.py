"""Ask a running collector to change its roll-out: `pumpwatch rollout start` drops a small file into its inbox.

The file is written whole or not at all. The collector takes it within a second and records its answer in `rollout.json`. An
unreadable file is removed and logged.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec

from pumpwatch.clock import Clock
from pumpwatch.errors import BadFrame
from pumpwatch.listing.inbox import put_file, read_dropped
from pumpwatch.printable import printable

log = logging.getLogger(__name__)

SUFFIX = ".rollout"  # the inbox for notices takes other files
FILES_PER_LOOK = 20


class RolloutRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The content of a file. action: start, pause, advance or back. reason: given by the person, for the record."""

    action: str
    reason: str = ""


def drop_request(folder: Path, request: RolloutRequest, clock: Clock | None = None) -> str:
    """Put a request into the inbox of a data folder; return its id. Raises StorageError."""
    name = f"{(clock or Clock()).now_ns()}-{os.getpid()}"
    put_file(folder / "inbox" / f"{name}{SUFFIX}", msgspec.json.encode(request), "request")
    return name


def take_requests(folder: Path) -> list[tuple[str, RolloutRequest]]:
    """Remove the requests in the inbox of a data folder; return the id and content of each, the oldest first."""
    found: list[tuple[str, RolloutRequest]] = []
    try:
        with os.scandir(folder / "inbox") as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith(SUFFIX))[:FILES_PER_LOOK]
    except OSError:
        return found
    for name in names:
        path = folder / "inbox" / name
        asked = None
        try:
            asked = msgspec.json.decode(read_dropped(path), type=RolloutRequest)
        except (msgspec.MsgspecError, UnicodeError, OSError, BadFrame) as error:
            log.warning("invalid roll-out request removed file=%s reason=%s", printable(name), printable(str(error)))
        try:
            path.unlink()
        except OSError:  # a directory, or a read-only folder: the request would be taken again and again
            continue
        if asked is not None:
            found.append((name.removesuffix(SUFFIX), asked))
    return found
