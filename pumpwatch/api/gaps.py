"""List the gaps page by page, the newest first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pumpwatch.api.route import ApiCall, Route
from pumpwatch.model import Gap, GapState
from pumpwatch.store.ledger import Ledger, is_missing

SHOWN_SYMBOLS = 20
LAST = 2**63 - 1


class GapQuery(msgspec.Struct, forbid_unknown_fields=True):
    """before: `next` of the previous page. exchange: empty for all."""

    before: Annotated[int, Meta(ge=1, le=LAST)] = LAST
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    state: Literal["open", "filled", "lost", "any"] = "any"
    exchange: Annotated[str, Meta(max_length=40)] = ""


class GapRow(msgspec.Struct):
    """A gap: trades may be missing in [from_ns, to_ns).

    symbol: empty for several symbols; `symbols` then has the first ones. symbol_count: 0 for all symbols of the venue.
    """

    id: int
    exchange: str
    market_type: str
    from_ns: int
    to_ns: int
    reason: str
    state: GapState
    symbol: str
    symbols: list[str]
    symbol_count: int
    first_id: int | None
    last_id: int | None


class Gaps(msgspec.Struct):
    """A page of gaps. next: the value of `before` for the next page, null on the last page."""

    gaps: list[GapRow]
    next: int | None


def gaps(call: ApiCall) -> Gaps:
    """Return a page of gaps."""
    query: GapQuery = call.query
    found = call.desk.offload(_read, Path(call.desk.config.store.dir), query)
    page = [_row(number, gap) for number, gap in found[:query.limit]]
    return Gaps(page, page[-1].id if len(found) > query.limit else None)


def _read(folder: Path, query: GapQuery) -> list[tuple[int, Gap]]:
    if is_missing(folder):
        return []
    ledger = Ledger(folder, read_only=True)
    try:
        state = None if query.state == "any" else GapState(query.state)
        return ledger.gaps_before(query.before, query.limit + 1, state, query.exchange)
    finally:
        ledger.close()


def _row(number: int, gap: Gap) -> GapRow:
    return GapRow(number, gap.exchange, gap.market_type, gap.from_ns, gap.to_ns, gap.reason, gap.state, gap.symbol,
                  list(gap.symbols[:SHOWN_SYMBOLS]), 1 if gap.symbol else len(gap.symbols), gap.first_id, gap.last_id)


ROUTES = (Route("/api/gaps", gaps, "Gaps, the newest first, a page at a time", Gaps, GapQuery, errors=(503,)),)
