"""Ask a running collector to remove due data at once: `pumpwatch retention` puts a small file into its inbox."""

from __future__ import annotations

from pathlib import Path

from pumpwatch.clock import Clock
from pumpwatch.listing.inbox import put_file

SUFFIX = ".retention"  # files of notices have another one


def drop(folder: Path, clock: Clock | None = None) -> Path:
    """Put a request into the inbox of a data folder; return the file. Raises StorageError."""
    path = folder / "inbox" / f"{(clock or Clock()).now_ns()}{SUFFIX}"
    put_file(path, b"{}", "request")
    return path


def take_requests(folder: Path) -> bool:
    """Remove the requests in the inbox of a data folder; return whether there were any."""
    found = False
    for path in (folder / "inbox").glob(f"*{SUFFIX}"):
        try:
            path.unlink()
        except OSError:  # a directory, or a read-only folder: it would be applied repeatedly
            continue
        found = True
    return found
