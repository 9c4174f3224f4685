"""Sinks that hold what a test gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.hookspecs import Keeping, Sink
from pumpwatch.model import TradeBatch
from pumpwatch.sink_abilities import SymbolMinute
from pumpwatch.store.minutes import MINUTE_NS, minutes_of
from tests.ops.minute_folder import SYMBOLS, catalogue, trades

WHOLE = TradeBatch.concat([trades(symbol, range(180)) for symbol in SYMBOLS])


class Shelf(Sink):
    """A sink that has these trades and is read."""

    def __init__(self, kept: TradeBatch, away: bool = False) -> None:
        self.kept, self._away = kept, away

    def read(self, names: Sequence[tuple[str, str, str]], start_ns: int, end_ns: int, catalogue_of: Catalogue) -> TradeBatch:
        if self._away:
            raise ServiceUnavailable("the shelf is away", "dust it")
        inside = self.kept.take((self.kept.timestamp >= start_ns) & (self.kept.timestamp < end_ns))
        return replace(inside, instrument=np.array([catalogue_of.ids_of(name[:2])[name[2]] for name in
                                                    catalogue().names(inside.instrument)], np.int32))


class AddingShelf(Shelf):
    """A sink that adds up by itself."""

    def minute_sums(self, start_ns: int, end_ns: int) -> list[SymbolMinute]:
        found = minutes_of(self.kept.take((self.kept.timestamp >= start_ns) & (self.kept.timestamp < end_ns)))
        return [(*name, minute, count, checksum) for name, minute, count, checksum in zip(
            catalogue().names(found.instrument), found.minute.tolist(), found.trades.tolist(), found.checksum.tolist(),
            strict=True)] + [("other", "spot", "AUSDT", start_ns // MINUTE_NS, 5, 5)]

    def read(self, *_: object) -> TradeBatch:
        raise AssertionError("it adds up by itself")


class ForgettingShelf(Shelf):
    """A sink that deletes what is older than a minute."""

    def keeping(self) -> Keeping:
        return Keeping(keeps_s=60.0)
