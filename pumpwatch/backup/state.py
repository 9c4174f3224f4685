"""Keep the results of the last backups in `backup.json` of the data folder; the job and the command both write it."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from pumpwatch.store.sqlite import write_private

log = logging.getLogger(__name__)

FILE = "backup.json"


class BackupState(msgspec.Struct, omit_defaults=False):
    """The results of the last backups. Times are ns since 1970, 0 for never. last_error: empty after a success.

    shared: the occasion of the last backup with the stores that all members of a cluster share.
    """

    last_ok_ns: int = 0
    last_name: str = ""
    last_try_ns: int = 0
    last_error: str = ""
    shared: str = ""


def read_state(data: Path) -> BackupState:
    """Return the state of a data folder; a new state if the file is missing or damaged."""
    try:
        return msgspec.json.decode((data / FILE).read_bytes(), type=BackupState)
    except (OSError, ValueError):
        return BackupState()


def record_result(data: Path, now_ns: int, name: str, error: str, shared: str = "") -> BackupState:
    """Record the result of a backup, with an empty error after a success; return the new state. shared: as in BackupState."""
    state = read_state(data)
    state.shared = shared or state.shared
    state.last_try_ns, state.last_error = now_ns, error
    if not error:
        state.last_ok_ns, state.last_name = now_ns, name
    try:
        write_private(data / FILE, msgspec.json.encode(state))
    except OSError as problem:
        log.warning("result of the backup not written file=%s reason=%s", data / FILE, problem.strerror)
    return state
