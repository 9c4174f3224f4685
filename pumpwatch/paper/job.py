"""The job of a strategy's process, and its answer. The job contains no paths or addresses to open."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from pumpwatch.paper.orders import Action
from pumpwatch.paper.results import ListingOutcome
from pumpwatch.paper.settings import Settings
from pumpwatch.paper.tape import Tape


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The code of a strategy. file: its origin, for messages. class_name: empty if the code has only one strategy."""

    name: str
    file: str
    code: str
    class_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One tape, to be played once for each delay. limit_s: how long each replay may take."""

    tape: Tape
    source: Source
    settings: Settings
    delays_ms: tuple[int, ...]
    limit_s: float


class Failure(msgspec.Struct, frozen=True):
    """An error of a strategy. line: 0 if it is not in the strategy's file."""

    problem: str
    line: int = 0
    function: str = ""


class PlayedRow(msgspec.Struct, frozen=True):
    """A replay as the process returns it."""

    outcome: ListingOutcome
    actions: tuple[Action, ...]


class StrategyAnswer(msgspec.Struct, frozen=True):
    """The answer of the process: a row per delay, or a failure."""

    played: tuple[PlayedRow, ...] = ()
    failure: Failure | None = None
