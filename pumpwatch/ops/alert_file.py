"""The file `alerts.json` of a data folder: active alerts, recently ended alerts, and the values from which growth is measured.

With it, a restart does not repeat messages, and an event between two runs is reported once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pumpwatch.errors import StorageError
from pumpwatch.ops.alert_book import LastValue, Standing

FILE, FORMAT = "alerts.json", "pumpwatch.alerts/1"
LARGEST_BYTES = 4_000_000
MODE = 0o640


class Alerts(msgspec.Struct, kw_only=True):
    """The content of the file. ended: the last ended alerts, the newest at the end."""

    format: str = FORMAT
    standing: list[Standing] = []
    ended: list[Standing] = []
    values: list[LastValue] = []


def read_alerts(folder: Path) -> Alerts:
    """Return the content; empty without the file. Raises StorageError if it cannot be read or is damaged."""
    path = folder / FILE
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # does not block on a pipe
        with os.fdopen(handle, "rb") as file:
            return msgspec.json.decode(file.read(LARGEST_BYTES), type=Alerts)
    except FileNotFoundError:
        return Alerts()
    except (OSError, msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise StorageError(f"{path}: the active alerts cannot be read: {error}",
                           "messages of active alerts are sent again; the next change replaces the file") from error


def write_alerts(folder: Path, standing: Sequence[Standing], ended: Sequence[Standing],
                 values: Sequence[LastValue] = ()) -> None:
    """Replace the file in one step: a reader sees the old content or the new one. Raises StorageError if the disk refuses."""
    path = folder / FILE
    fresh = path.with_suffix(".new")
    try:
        fresh.unlink(missing_ok=True)  # a killed run may have left one with another mode
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "wb") as out:
            out.write(msgspec.json.encode(Alerts(standing=list(standing), ended=list(ended), values=list(values))))
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(path)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from error
