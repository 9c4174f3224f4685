"""Choose the tapes of a run: an archive, a coin's window in the store, or every listing of the data folder."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from pumpwatch.clock import Clock
from pumpwatch.config import Config
from pumpwatch.errors import PumpWatchError, UsageError
from pumpwatch.listing.replay import show
from pumpwatch.moments import parse_moment
from pumpwatch.paper.archive_tape import read_tape
from pumpwatch.paper.store_tape import store_tape
from pumpwatch.paper.tape import Tape


@dataclass(frozen=True, slots=True)
class Chosen:
    """A listing of a run. tape: None if it cannot be played. left_out: the reason."""

    archive: str
    coin: str
    triggered_at: int
    tape: Tape | None
    left_out: str | None = None

    @property
    def identity(self) -> str:
        """Return a text that identifies the content."""
        return self.tape.identity if self.tape is not None else f"{self.coin}: {self.left_out}"


def one_archive(path: Path, venues: Collection[str] = ()) -> Iterator[Chosen]:
    """Yield the listing of an archive. Raises as `read_tape` does."""
    yield _of(read_tape(path, venues), venues)


def one_window(config: Config, coin: str, at_ns: int, venues: Collection[str] = ()) -> Iterator[Chosen]:
    """Yield the listing of a coin's window in the store. Raises as `store_tape` does."""
    yield _of(store_tape(config, coin, at_ns, venues), venues)


def every_listing(config: Config, venues: Collection[str] = ()) -> Iterator[Chosen]:
    """Yield every known listing, oldest first, including those that could not have been traded.

    Testing a strategy only on complete listings would be survivorship bias. So a listing without an archive, without a market or
    with a damaged archive is included, with the reason why it is left out; so are drills and duplicate archives. Raises
    UsageError if no listing is known.
    """
    rows = show(config)
    if not rows:
        raise UsageError(f"{config.store.dir}: no listing is known", "give the collector's config with -c, or set store.dir")
    seen: dict[str, str] = {}
    for row in rows:
        at_ns = parse_moment(row["announced_at"], Clock().now_ns())
        archive = row["archive"]
        if archive and archive in seen.values():
            continue  # another notice of the same window
        reason = "a drill" if row["drill"] else _why_not_played(row["state"], row["problem"])
        found = Chosen(archive, row["coin"], at_ns, None, reason)
        if not reason:
            try:
                found = _of(read_tape(Path(archive), venues), venues)
            except PumpWatchError as error:
                found = Chosen(archive, row["coin"], at_ns, None, error.message)
        if found.tape is not None and (other := seen.get(found.identity)):
            found = Chosen(archive, row["coin"], at_ns, None, f"the same listing as {other}")
        seen.setdefault(found.identity, archive)
        yield found


def _why_not_played(state: str, problem: str) -> str:
    reasons = {"written": "", "open": "its window is still open", "missing": "its archive was removed",
               "problem": f"it has no archive: {problem}"}
    return reasons[state]


def _of(tape: Tape, venues: Collection[str]) -> Chosen:
    reason = None
    if not tape.markets:
        reason = f"no market on {', '.join(sorted(venues))}" if venues else "the coin was not listed on any venue"
    elif not len(tape):
        reason = "no trade in its window"
    return Chosen(tape.archive, tape.coin, tape.triggered_at_ns, None if reason else tape, reason)
