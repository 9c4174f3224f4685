"""Logs problems of a venue's instrument list, each change of state once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from pumpwatch.config import VenueConfig
from pumpwatch.instruments.lists import absent_coins, unlisted
from pumpwatch.model import Instrument
from pumpwatch.stats import Stats
from pumpwatch.venue import Venue

log = logging.getLogger(__name__)


class ListReports:
    """The reports on one venue's lists.

    problem: why the latest list is unreliable, empty if it is reliable. unlisted: chosen symbols that are not listed, each with
    the nearest listed symbol. absent_coins: chosen coins that are not listed. nothing_chosen: a list came without a chosen coin.
    """

    def __init__(self, venue: Venue, config: VenueConfig, stats: Stats) -> None:
        self._venue, self._config, self._stats = venue, config, stats
        self.problem = ""
        self.unlisted: dict[str, str] = {}
        self.absent_coins: frozenset[str] = frozenset()
        self.nothing_chosen = False
        self._impossible: set[str] = set()

    def report(self, problem: str, symbols: int, has_list: bool) -> None:
        """Log when the list becomes unreliable and when it is good again; reading of `symbols` goes on meanwhile."""
        before, self.problem = self.problem, problem
        if problem and not before:
            log.warning("instrument list is unreliable, reading goes on venue=%s symbols=%d reason=%s" if has_list else
                        "no instrument list, nothing is read yet venue=%s symbols=%d reason=%s",
                        self._venue.name, symbols, problem)
        elif before and not problem:
            log.info("instrument list is good again venue=%s", self._venue.name)

    def report_impossible(self, instrument: str) -> None:
        """Log once that a row of the list is not a valid instrument."""
        if instrument not in self._impossible:
            self._impossible.add(instrument)
            log.warning("listed instrument is invalid, left out venue=%s instrument=%s", self._venue.name, instrument)
            self._stats.add("impossible_instruments_total", venue=self._venue.name)

    def review_coins(self, chosen: Sequence[Instrument]) -> None:
        """Log once if the venue lists none of the chosen coins."""
        coins = self._config.coins
        self.absent_coins = frozenset(absent_coins(chosen, coins))
        before, self.nothing_chosen = self.nothing_chosen, bool(coins) and not chosen
        if self.nothing_chosen and not before:
            log.warning("none of the chosen coins is listed, nothing is read venue=%s coins=%s",
                        self._venue.name, ",".join(coins))

    def review_symbols(self, listed: Iterable[Instrument]) -> None:
        """Log once which symbols of the configuration the venue does not list."""
        twice = self._config.redundancy if isinstance(self._config.redundancy, list) else []
        missing = unlisted(listed, [*self._config.symbols, *self._config.excluded, *twice])
        for symbol in missing.keys() - self.unlisted.keys():
            log.warning("%s symbol is not listed venue=%s symbol=%s nearest=%s",
                        self._word_for(symbol), self._venue.name, symbol, missing[symbol] or "none")
        for symbol in self.unlisted.keys() - missing.keys():
            log.info("%s symbol is listed now venue=%s symbol=%s", self._word_for(symbol), self._venue.name, symbol)
        self.unlisted = missing

    def _word_for(self, symbol: str) -> str:
        return "excluded" if symbol in self._config.excluded else "configured"
