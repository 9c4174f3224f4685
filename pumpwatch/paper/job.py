"""The job that a strategy's process is given, and its answer. No file and no address is in it: it needs neither."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from pumpwatch.paper.orders import Action
from pumpwatch.paper.results import ListingOutcome
from pumpwatch.paper.settings import Settings
from pumpwatch.paper.tape import Tape


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The code of a strategy. file: where it is from, for messages. class_name: empty for the only one in the code."""

    name: str
    file: str
    code: str
    class_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One tape, played once for each delay in ms. limit_s: how long each may take."""

    tape: Tape
    source: Source
    settings: Settings
    delays_ms: tuple[int, ...]
    limit_s: float


class Failure(msgspec.Struct, frozen=True):
    """The error of a strategy: its line, 0 where it is not in the strategy's file."""

    problem: str
    line: int = 0
    function: str = ""


class PlayedRow(msgspec.Struct, frozen=True):
    """A replay as it comes back from the process."""

    outcome: ListingOutcome
    actions: tuple[Action, ...]


class StrategyAnswer(msgspec.Struct, frozen=True):
    """The answer of the process: a row for each delay, or a failure."""

    played: tuple[PlayedRow, ...] = ()
    failure: Failure | None = None
