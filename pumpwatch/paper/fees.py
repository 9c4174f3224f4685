"""The fees and the highest leverage of each venue, from the table `fees.tsv`: each row has a date and a source.

Fees are those of the standard tier, without discounts. Funding is ignored, since a listing's window lasts minutes.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files

PERCENT = Decimal(100)


@dataclass(frozen=True, slots=True)
class Fees:
    """The row of one venue. maker, taker: as parts of the amount, 0.001 for 0.1 %."""

    maker: Decimal
    taker: Decimal
    most_leverage: int
    date: str
    source: str


def fees_of(exchange: str, market_type: str) -> Fees:
    """Return the fees of a venue; those of the row `*` if the table does not have the venue."""
    table = _table()
    return table.get((exchange, market_type)) or table["*", market_type]


@functools.cache
def _table() -> dict[tuple[str, str], Fees]:
    rows = {}
    for line in files("pumpwatch.paper").joinpath("fees.tsv").read_text("utf-8").splitlines():
        if line and not line.startswith(("#", "exchange\t")):
            exchange, market_type, maker, taker, leverage, date, source = line.split("\t")
            rows[exchange, market_type] = Fees(Decimal(maker) / PERCENT, Decimal(taker) / PERCENT, int(leverage), date, source)
    return rows
