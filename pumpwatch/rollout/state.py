"""Keep the state of a roll-out across restarts, in `rollout.json` of the data folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from pumpwatch.errors import StorageError
from pumpwatch.printable import printable
from pumpwatch.rollout.answers import PhaseAnswers
from pumpwatch.store.sqlite import write_private

FILE, FORMAT = "rollout.json", "pumpwatch.rollout/1"
LARGEST_BYTES = 4_000_000
CHANGES_KEPT = 50

Status = Literal["waiting", "running", "paused", "rolled back", "done"]
Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]


class RolloutChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the state. at_ns: in ns UTC. percent: the new share."""

    at_ns: int
    status: Status
    percent: Percent
    reason: str


class RolloutState(msgspec.Struct, kw_only=True):
    """The state of a roll-out. Only `machine.py` changes it.

    percent: the share of the instruments that the sink gets. ran_s: the running time of the phase without pauses. answers: the
    figures of the phase. alert_ns: since when an alert is active because the sink was rolled back, or a phase paused, without a
    request; 0: no alert.
    """

    format: str = FORMAT
    sink: str
    status: Status = "waiting"
    percent: Percent = 0
    ran_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    started_at_ns: int = 0  # the roll-out; 0: not started
    phase_at_ns: int = 0  # the phase
    reason: str = ""
    alert_ns: int = 0
    answers: PhaseAnswers = msgspec.field(default_factory=PhaseAnswers)
    changes: list[RolloutChange] = []
    answered: dict[str, str] = {}  # the last requests: id -> why it was refused, empty if it was done


def read_state(folder: Path) -> RolloutState | None:
    """Return the state, None without a file. Raises StorageError if the file is unreadable or damaged."""
    path = folder / FILE
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # never waits for a pipe
        with os.fdopen(handle, "rb") as file:
            return msgspec.json.decode(file.read(LARGEST_BYTES), type=RolloutState)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise StorageError(f"{path}: the state of the roll-out cannot be read: {printable(str(error))}",
                           "the collector renames it and sends nothing to the sink until `pumpwatch rollout start`; the journal"
                           " keeps every trade meanwhile") from error


def write_state(folder: Path, state: RolloutState) -> None:
    """Replace the file durably. Raises StorageError if it cannot be written."""
    path = folder / FILE
    try:
        write_private(path, msgspec.json.encode(state))
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from error


def set_aside(folder: Path) -> None:
    """Rename a damaged file, so that a person can look at it. A file that cannot be renamed stays."""
    try:
        (folder / FILE).replace(folder / f"{FILE}.damaged")
    except OSError:
        pass  # the next write replaces it
