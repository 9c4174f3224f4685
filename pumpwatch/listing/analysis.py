"""Analyse the effect of a listing on each market, and which market moved first.

docs/analysis.md defines each figure. `abnormal` finds the abnormal trades, `market_figures` computes the figures of one market,
`book_figures` those of its order book, `move_order` the order of venues, `lead_lag` how one price follows another.

Trades without a price, and those that did not come from a public order (blocks, insurance fund, ADL, internal ones), are counted
as `odd_trades` and not analysed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.listing.abnormal import RULE, Scores, baseline_from_ns, normal_of, odd_rows, scores_of, search_ns
from pumpwatch.listing.book_figures import book_buys
from pumpwatch.listing.books import Snapshot
from pumpwatch.listing.lead_lag import LAG_MAX_MS, STEP_MS, lead_lags, returns_of
from pumpwatch.listing.market_figures import drawdown, market_buys, per_second, percent, phases, volume
from pumpwatch.listing.move_order import order_of, resolution_ns
from pumpwatch.model import Flag, Float64, TradeBatch


def analyse(batch: TradeBatch, catalogue: Catalogue, ids: Sequence[int], announced_at_ns: int, detected_at_ns: int,
            earlier: TradeBatch | None = None,
            books: Mapping[tuple[str, str, str], Sequence[Snapshot]] | None = None) -> dict[str, Any]:
    """Return the analysis of these instruments' trades as plain data: `rule`, `overall`, and a row for each instrument.

    batch: the trades of the window, sorted by time; instruments without trades have a row too. earlier: trades before the
    window, sorted, used for the baseline only. books: snapshots by exchange, market type and symbol. Times are int ns, UTC;
    volumes are in base units (quantity) and quote units (value); percent are of the price before the announcement unless the
    name says otherwise.
    """
    earlier = TradeBatch.empty() if earlier is None else earlier
    earlier = earlier.take(earlier.timestamp >= baseline_from_ns(announced_at_ns))
    rows: list[dict[str, Any]] = []
    returns: list[Float64] = []
    earlier_of, trades_of = _by_instrument(earlier, ids), _by_instrument(batch, ids)
    for number in ids:
        exchange, market_type = catalogue.venues[number]
        market = _Market(earlier_of[number], trades_of[number], announced_at_ns, detected_at_ns)
        symbol = catalogue.instruments[number].symbol
        snapshots = (books or {}).get((exchange, market_type, symbol), ())
        rows.append({"exchange": exchange, "market_type": market_type, "symbol": symbol, **market.row(),
                     "book_buys": book_buys(snapshots, market.price_before, announced_at_ns)})
        returns.append(returns_of(market.judged.timestamp, market.judged.price, announced_at_ns))
    overall = _overall(rows, returns)
    rows.sort(key=lambda row: (row["first_abnormal"] is None, (row["first_abnormal"] or {}).get("at_ns", 0),
                               row["exchange"], row["market_type"], row["symbol"]))
    return {"rule": RULE, "announced_at_ns": announced_at_ns, "detected_at_ns": detected_at_ns, "overall": overall,
            "instruments": rows}


class _Market:
    """One instrument's trades. judged: those that count, including those before the window. opens: the window's first row."""

    def __init__(self, earlier: TradeBatch, trades: TradeBatch, announced_at_ns: int, detected_at_ns: int) -> None:
        self.trades, self.announced_at_ns, self.detected_at_ns = trades, announced_at_ns, detected_at_ns
        self.odd = odd_rows(trades)
        earlier = earlier.take(~odd_rows(earlier))
        self.opens = len(earlier)
        self.judged = TradeBatch.concat([earlier, trades.take(~self.odd)])
        self.before = int(np.searchsorted(self.judged.timestamp, announced_at_ns))
        self.price_before = float(self.judged.price[self.before - 1]) if self.before else None
        self.reference = self.price_before or (float(self.judged.price[0]) if len(self.judged) else 0.0)

    def row(self) -> dict[str, Any]:
        """Return the instrument's figures."""
        judged, announced_at_ns = self.judged, self.announced_at_ns
        inside = judged.take(slice(self.opens, None))
        split = int(np.searchsorted(self.trades.timestamp, announced_at_ns))
        value = judged.price * judged.quantity
        normal = normal_of(judged.timestamp, judged.price, value, search_ns(announced_at_ns))
        scores = scores_of(judged.timestamp, judged.price, value, normal)
        row: dict[str, Any] = {
            "trades": len(self.trades), "odd_trades": int(np.count_nonzero(self.odd)),
            "resolution_ns": resolution_ns(_live(judged).timestamp), "baseline": normal.as_json(),
            "before": volume(self.trades.take(slice(None, split))), "after": volume(self.trades.take(slice(split, None))),
            "price_before": self.price_before, "price_after": None, "change_percent": None, "first_abnormal": None, "peak": None,
            "drawdown": None, "phases": None, "leak": self._leak(scores),
            "per_second": per_second(inside, announced_at_ns),
            "market_buys": market_buys(judged, self.price_before, announced_at_ns),
        }
        if len(judged) > max(self.before, self.opens):
            row["price_after"] = float(judged.price[-1])
            row["change_percent"] = percent(float(judged.price[-1]), self.reference)
        start = max(self.opens, int(np.searchsorted(judged.timestamp, search_ns(announced_at_ns))))
        if start == len(judged):
            return row
        peak = start + int(np.argmax(judged.price[start:]))
        row["peak"] = self._moment(peak)
        row["drawdown"] = drawdown(judged, peak)
        hits = np.flatnonzero(scores.abnormal()[start:])
        if len(hits):
            first = start + int(hits[0])
            row["first_abnormal"] = self._first_abnormal(first, scores)
            row["phases"] = phases(inside, first - self.opens, peak - self.opens)
        return row

    def _moment(self, index: int) -> dict[str, Any]:
        at_ns, price = int(self.judged.timestamp[index]), float(self.judged.price[index])
        return {"at_ns": at_ns, "after_announcement_ms": (at_ns - self.announced_at_ns) / NS_PER_MS, "price": price,
                "change_percent": percent(price, self.reference)}

    def _first_abnormal(self, index: int, scores: Scores) -> dict[str, Any]:
        moment = self._moment(index)
        same_origin = (self.judged.flags & Flag.BACKFILLED) == (self.judged.flags[index] & Flag.BACKFILLED)
        return {**moment, "reasons": scores.reasons(index), "price_score": round(float(scores.price[index]), 4),
                "volume_score": round(float(scores.volume[index]), 4),
                "resolution_ns": resolution_ns(self.judged.timestamp[same_origin]),
                "after_detection_ms": (moment["at_ns"] - self.detected_at_ns) / NS_PER_MS,
                "trade_id": self.judged.take(slice(index, index + 1)).id_texts()[0]}

    def _leak(self, scores: Scores) -> dict[str, Any]:
        """Return the abnormal trades in the `leak_s` before the search: whether there are any, their number, and the first."""
        end_ns = search_ns(self.announced_at_ns)
        start, end = np.searchsorted(self.judged.timestamp, [end_ns - int(RULE["leak_s"] * NS_PER_S), end_ns]).tolist()
        hits = np.flatnonzero(scores.abnormal()[start:end])
        return {"suspected": len(hits) > 0, "abnormal_trades": len(hits),
                "first": self._moment(start + int(hits[0])) if len(hits) else None}


def _by_instrument(batch: TradeBatch, ids: Sequence[int]) -> dict[int, TradeBatch]:
    """Return the trades of each instrument, in order."""
    order = np.argsort(batch.instrument, kind="stable")
    numbers = batch.instrument[order]
    return {number: batch.take(order[np.searchsorted(numbers, number):np.searchsorted(numbers, number, side="right")])
            for number in ids}


def _live(trades: TradeBatch) -> TradeBatch:
    """Return the trades that were received live: those of a history may have coarser times."""
    return trades.take((trades.flags & Flag.BACKFILLED) == 0)


def _overall(rows: Sequence[dict[str, Any]], returns: Sequence[Float64]) -> dict[str, Any]:
    """Return the order in which the venues moved, the highest peak, leaks, lead and lag, and totals."""
    peaks = [row for row in rows if row["peak"] and row["peak"]["change_percent"] is not None]
    top = max(peaks, key=lambda row: float(row["peak"]["change_percent"]), default=None)
    return {
        "trades": sum(row["trades"] for row in rows),
        "order": order_of([row for row in rows if row["first_abnormal"]]),
        "peak": {**_name(top), **top["peak"]} if top else None,
        "leak": [{**_name(row), **row["leak"]["first"]} for row in rows if row["leak"]["suspected"]],
        "lead_lag": _lead_lag(rows, returns),
        "value_before": sum(row["before"]["value"] for row in rows),
        "value_after": sum(row["after"]["value"] for row in rows),
        "buy_value_after": sum(row["after"]["buy_value"] for row in rows),
        "sell_value_after": sum(row["after"]["sell_value"] for row in rows),
    }


def _lead_lag(rows: Sequence[dict[str, Any]], returns: Sequence[Float64]) -> dict[str, Any] | None:
    """Return how each market's price follows that of the market with the most trades; None without trades."""
    if not any(row["trades"] for row in rows):
        return None
    reference = max(range(len(rows)), key=lambda number: (int(rows[number]["trades"]), -number))
    found = lead_lags(returns, reference)
    return {"step_ms": STEP_MS, "lag_max_ms": LAG_MAX_MS, "reference": _name(rows[reference]),
            "markets": [{**_name(row), **lag} for row, lag in zip(rows, found, strict=True) if lag]}


def _name(row: dict[str, Any]) -> dict[str, str]:
    return {key: row[key] for key in ("exchange", "market_type", "symbol")}
