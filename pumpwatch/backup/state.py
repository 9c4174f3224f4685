"""Keep the results of the last backups in `backup.json` of the data folder, which the job and the command both write."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from pumpwatch.store.sqlite import write_private

log = logging.getLogger(__name__)

FILE = "backup.json"


class State(msgspec.Struct, omit_defaults=False):
    """Times are ns since 1970, 0 for never. last_error: empty once a backup has gone well since.

    shared: the occasion of the last backup with the stores that all members of a cluster share.
    """

    last_ok_ns: int = 0
    last_name: str = ""
    last_try_ns: int = 0
    last_error: str = ""
    shared: str = ""


def read_state(data: Path) -> State:
    """Return the state of a data folder; that of one without a backup where the file is missing or damaged."""
    try:
        return msgspec.json.decode((data / FILE).read_bytes(), type=State)
    except (OSError, ValueError):
        return State()


def note(data: Path, now_ns: int, name: str, error: str, shared: str = "") -> State:
    """Write how a backup went, error empty where it went well, and return the new state. shared: as in State, empty for none."""
    state = read_state(data)
    state.shared = shared or state.shared
    state.last_try_ns, state.last_error = now_ns, error
    if not error:
        state.last_ok_ns, state.last_name = now_ns, name
    try:
        write_private(data / FILE, msgspec.json.encode(state))
    except OSError as problem:
        log.warning("the result of the backup is not written file=%s reason=%s", data / FILE, problem.strerror)
    return state
