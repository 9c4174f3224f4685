"""The figures of the last 24 hours, exactly: whole minutes by their candles, the minutes at both ends by their trades."""

from __future__ import annotations

from pumpwatch.market.answers import SymbolStats
from pumpwatch.market.candle_builder import candles_of
from pumpwatch.market.candle_columns import CandleColumns
from pumpwatch.market.candle_reader import CandleReader
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.market.known_minutes import outside

DAY_NS = 86_400 * 10**9


def stats_of(reader: CandleReader, number: int, from_ns: int, to_ns: int, problems: list[str], *,
             ask: bool = False) -> SymbolStats | None:
    """Return the figures of an instrument in [from_ns, to_ns); None where nothing is known of that time.

    problems: receives what could not be read.
    """
    first_whole, last_whole = -(-from_ns // MINUTE_NS) * MINUTE_NS, to_ns // MINUTE_NS * MINUTE_NS
    covered = reader.trades.whole_from_ns() <= from_ns or first_whole == from_ns
    told = len(problems)
    head = (candles_of(reader.trades.between([number], from_ns, min(first_whole, to_ns))) if covered else
            reader.minutes(number, first_whole - MINUTE_NS, first_whole, problems))
    tail = candles_of(reader.trades.between([number], max(last_whole, first_whole), to_ns))
    whole = reader.minutes(number, first_whole, last_whole, problems, ask=ask)
    problems += reader.trades.problems()
    rows = CandleColumns.concat([part for part in (head, whole, tail) if len(part)])
    if not len(rows):
        return None
    return SymbolStats(
        from_ns=from_ns, to_ns=to_ns, first_ns=max(from_ns, int(rows.timestamp[0])), open=float(rows.open[0]),
        high=float(rows.high.max()), low=float(rows.low.min()), close=float(rows.close[-1]), volume=float(rows.volume.sum()),
        quote_volume=float(rows.quote_volume.sum()), taker_buy_volume=float(rows.taker_buy_volume.sum()),
        trades=-1 if (rows.trades < 0).any() else int(rows.trades.sum()), exact=covered,
        complete=_complete(reader, number, (from_ns, to_ns), whole, problems) and (
            covered or reader.known.judges) and len(problems) == told)


def _complete(reader: CandleReader, number: int, span: tuple[int, int], whole: CandleColumns, problems: list[str]) -> bool:
    """Return whether trades of a span are known to be complete. whole: the candles of its whole minutes."""
    settled = whole.timestamp + MINUTE_NS <= reader.known.judged_until_ns()
    if not whole.complete[settled].all():
        return False
    name, failed = reader.trades.catalogue.names([number])[0], list[str]()
    unknown = reader.known.unknown(name, *span, reader.trades.whole_from_ns(), failed)
    problems += failed
    return not failed and not outside(unknown, whole.take(whole.complete), MINUTE_NS)
