"""The runs kept in a data folder, and the two files derived from each: its page and its heading.

    <data>/paper/<run_id>/result.json     everything (`results`)
    <data>/paper/<run_id>/run.html        its page (`run_page`)
    <data>/paper/<run_id>/heading.json    its inputs and its summary, small, so that lists of runs are fast
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import msgspec

from pumpwatch.errors import StorageError, UsageError
from pumpwatch.paper.results import FILE, FOLDER, Latency, RunResult, read_result, result_path
from pumpwatch.paper.run_page import PriceLine, run_page
from pumpwatch.paper.summary import RunSummary, summarise

PAGE, HEADING = "run.html", "heading.json"
FILES = (FILE, PAGE, HEADING)
SHOWN_COINS = 20  # in a heading
RUN_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}")


class Heading(msgspec.Struct, frozen=True):
    """The settings and the summary of a run. coins: the first SHOWN_COINS of its listings."""

    run_id: str
    strategy: str
    strategy_sha256: str
    seed: int
    size: Decimal
    latency: Latency
    made_with: str
    coins: tuple[str, ...]
    summary: RunSummary


def heading_of(result: RunResult) -> Heading:
    """Return the heading of a run."""
    coins = tuple(dict.fromkeys(archive.coin for archive in result.archives))[:SHOWN_COINS]
    return Heading(result.run_id, result.strategy, result.strategy_sha256, result.seed, result.size, result.latency,
                   result.made_with, coins, summarise(result))


def write_views(folder: Path, result: RunResult, prices: Mapping[int, Sequence[PriceLine]] | None = None) -> Path:
    """Write a run's page and heading beside its result, and return the page's path.

    prices: the recorded prices by the number of the archive in the result; by default read from the archive's folder. Raises
    OSError.
    """
    page = run_page(result, summarise(result), prices)
    for name, content in ((PAGE, page), (HEADING, msgspec.json.encode(heading_of(result)) + b"\n")):
        partial = folder / f".{name}.{os.getpid()}"
        partial.write_bytes(content)
        partial.replace(folder / name)
    return folder / PAGE


def headings(data: Path, limit: int | None = None, offset: int = 0) -> tuple[list[tuple[Heading, int]], int]:
    """Return the kept runs, newest first, each with the time (ms since 1970) when it was made; and the number of all runs.

    limit, offset: at most `limit` runs, after skipping the `offset` newest. A run with an unreadable heading is counted and left
    out.
    """
    made = []
    for path in (data / FOLDER).glob(f"*/{HEADING}"):
        with suppress(OSError):  # removed meanwhile
            made.append((path.stat().st_mtime_ns // 1_000_000, path))
    made.sort(reverse=True)
    found = []
    for made_ms, path in made[offset:None if limit is None else offset + limit]:
        with suppress(OSError, msgspec.DecodeError):
            found.append((msgspec.json.decode(path.read_bytes(), type=Heading), made_ms))
    return found, len(made)


def kept_run(data: Path, wanted: str = "") -> RunResult:
    """Return a kept run. wanted: its id, or the beginning of its id if that is unique; empty: the newest run.

    Raises UsageError, StorageError.
    """
    known = [heading.run_id for heading, _ in headings(data)[0]]
    if wanted and not RUN_ID.fullmatch(wanted):
        raise UsageError(f"not a run: {wanted[:60]}", "`pumpwatch paper runs` lists them")
    matching = known[:1] if not wanted else [name for name in known if name.startswith(wanted)]
    if wanted and result_path(data, wanted).is_file():
        matching = [wanted]
    if len(matching) > 1:
        raise UsageError(f"{len(matching)} runs begin with {wanted}", "give more of its id: `pumpwatch paper runs` lists them")
    if not matching:
        raise UsageError(f"no run {wanted}" if wanted else "no run is kept yet",
                         "`pumpwatch paper runs` lists them" if wanted else "make one: pumpwatch paper run COIN --at TIME")
    return read_result(result_path(data, matching[0]))


def file_of(data: Path, run_id: str, name: str) -> Path | None:
    """Return a file of a kept run; None if it does not exist or is not one of FILES."""
    if name not in FILES or not RUN_ID.fullmatch(run_id):
        return None
    path = data / FOLDER / run_id / name
    return path if path.is_file() and path.resolve().is_relative_to((data / FOLDER).resolve()) else None


def heading(data: Path, run_id: str) -> tuple[Heading, int] | None:
    """Return the heading of one run, and when it was made (ms since 1970). Raises StorageError if it cannot be read."""
    path = file_of(data, run_id, HEADING)
    if path is None:
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Heading), path.stat().st_mtime_ns // 1_000_000
    except (OSError, msgspec.DecodeError) as error:
        raise StorageError(f"{path}: cannot be read: {error}") from error
