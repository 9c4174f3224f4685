"""The state of a roll-out, in `rollout.json` of the data folder: written whole, read defensively, kept over restarts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from pumpwatch.errors import StorageError
from pumpwatch.printable import printable
from pumpwatch.rollout.answers import Answers
from pumpwatch.store.sqlite import write_private

FILE, FORMAT = "rollout.json", "pumpwatch.rollout/1"
LARGEST_BYTES = 4_000_000
CHANGES_KEPT = 50

Status = Literal["waiting", "running", "paused", "rolled back", "done"]
Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the state. at_ns: UTC. percent: the share since then."""

    at_ns: int
    status: Status
    percent: Percent
    reason: str


class State(msgspec.Struct, kw_only=True):
    """The state of a roll-out. Change it by `machine.py` alone.

    percent: the share of the instruments that the sink gets. ran_s: how long the phase has run, pauses left out. answers: of the
    phase. alert_ns: since when an alert stands that the sink was taken back, or a phase paused, without a request; 0: none does.
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
    answers: Answers = msgspec.field(default_factory=Answers)
    changes: list[Change] = []
    answered: dict[str, str] = {}  # the last requests: id -> why it was refused, empty where it was done


def read_state(folder: Path) -> State | None:
    """Return the state, None without a file. Raises StorageError where it cannot be read or is damaged."""
    path = folder / FILE
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # never waits for a pipe
        with os.fdopen(handle, "rb") as file:
            return msgspec.json.decode(file.read(LARGEST_BYTES), type=State)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise StorageError(f"{path}: the state of the roll-out cannot be read: {printable(str(error))}",
                           "the collector sets it aside and gives the sink nothing until `pumpwatch rollout start`; the journal"
                           " keeps every trade meanwhile") from error


def write_state(folder: Path, state: State) -> None:
    """Replace the file durably. Raises StorageError where the disk does not take it."""
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
