"""Keeps one venue's part of the symbols file: symbols that are read, and others with the reason; reads an earlier run's part."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import StorageError
from pumpwatch.instruments.exclusion_reasons import exclusion_reasons
from pumpwatch.instruments.symbols_file import NOT_CHOSEN, RENEWED_NS, SymbolsFile, VenueSymbols
from pumpwatch.model import Instrument

log = logging.getLogger(__name__)


class SymbolsRecord:
    """Writes a venue's symbols to the file when they have changed, and reads those of an earlier run."""

    def __init__(self, file: SymbolsFile, venue: str, clock: Clock) -> None:
        self._file, self._venue, self._clock = file, venue, clock
        self._recorded = VenueSymbols(0, [], {})  # as last written

    def known(self) -> Sequence[Instrument]:
        """Return the instruments of an earlier list and log its age; empty if the file has none or cannot be used."""
        try:
            known = self._file.known(self._venue)
        except StorageError as error:
            log.warning("the symbols file cannot be used venue=%s reason=%s hint=%s", self._venue, error.message, error.hint)
            return ()
        if not known:
            return ()
        age_h = (self._clock.now_ns() - known.listed_at_ns) / NS_PER_S / 3600
        log.warning("no instrument list, starting with an earlier one venue=%s symbols=%d hours_old=%.0f file=%s",
                    self._venue, len(known.instruments), age_h, self._file.path)
        return known.instruments

    def put(self, listed: Sequence[Instrument], bodies: Sequence[bytes], read: Collection[str],
            left_out: Mapping[str, str]) -> None:
        """Record a list with the symbols that are read, here or elsewhere. left_out: rejected symbols with the reason."""
        rejected = {symbol: f"the venue rejects it: {reason}" for symbol, reason in left_out.items()}
        placed = [instrument for instrument in listed if instrument.symbol in read]
        now_ns = self._clock.now_ns()
        current = VenueSymbols(now_ns, placed, rejected)
        if current.same_as(self._recorded) and now_ns - self._recorded.listed_at_ns < RENEWED_NS:
            return
        self._recorded = current
        others = {instrument.symbol: NOT_CHOSEN for instrument in listed if instrument.symbol not in read}
        excluded = exclusion_reasons(bodies, {instrument.symbol for instrument in listed})
        self._file.put(self._venue, VenueSymbols(now_ns, placed, excluded | others | rejected))
