"""The file `alerts.json` of a data folder: the alerts that stand, those that ended lately, and the values to compare with.

A restart does not repeat a message. An event between two runs is reported once.
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
    """The content of the file. ended: the ones that ended last, the newest at the end."""

    format: str = FORMAT
    standing: list[Standing] = []
    ended: list[Standing] = []
    values: list[LastValue] = []


def read_alerts(folder: Path) -> Alerts:
    """Return the content, none where the file is not there. Raises StorageError where it cannot be read or is damaged."""
    path = folder / FILE
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # never waits for a pipe
        with os.fdopen(handle, "rb") as file:
            return msgspec.json.decode(file.read(LARGEST_BYTES), type=Alerts)
    except FileNotFoundError:
        return Alerts()
    except (OSError, msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise StorageError(f"{path}: the alerts that stood cannot be read: {error}",
                           "alerts that still stand are told again; the file is written again with the next change") from error


def write_alerts(folder: Path, standing: Sequence[Standing], ended: Sequence[Standing],
                 values: Sequence[LastValue] = ()) -> None:
    """Replace the file: a reader sees the old content or the new one. Raises StorageError where the disk does not take it."""
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
