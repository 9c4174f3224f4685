"""Check a venue's tickers: valid requests, the figures of the dialect's trades, other answers rejected."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from pumpwatch.plugin_kit.check_snapshots import CLOCK_S, ROUNDING, check_symbol_requests, require_rejections
from pumpwatch.plugin_kit.results import Check, Problems, short
from pumpwatch.plugin_kit.samples import Samples, SimulatedVenue
from pumpwatch.plugin_kit.sandbox import attempt, watch_effects
from pumpwatch.ticker import Ticker
from pumpwatch.venue import Tickers, Venue

if TYPE_CHECKING:
    from pumpwatch.sim.ticker import MadeTicker

PERCENT = 2e-4  # relative tolerance of a price that is computed from a percentage with two decimals


def check_tickers(venue: Venue, samples: Samples) -> list[Check]:
    """Return one row for the requests and one for the dialect's ticker; an empty list if the venue has no tickers."""
    tickers = venue.tickers
    if tickers is None:
        return []
    requests = check_symbol_requests(venue, "tickers", tickers.request)
    if samples.simulated is None or requests.state == "fail":
        return [requests]
    return [requests, _figures(venue, tickers, samples.simulated)]


def _figures(venue: Venue, tickers: Tickers, simulated: SimulatedVenue) -> Check:
    problems = Problems(venue.name, "tickers: figures")
    number = int(simulated.rows.symbol[-1])
    instrument = simulated.instrument(number)
    if instrument is None:
        problems.must(False, f"the symbol list does not contain {simulated.table.symbols[number]}")
        return problems.row("")
    body = simulated.answer(tickers.request(instrument.symbol))
    with watch_effects() as effects:
        given, again = attempt(tickers.parse, body, instrument), attempt(tickers.parse, body, instrument)
    if not isinstance(given.value, Ticker):
        problems.must(False, f"tickers.parse rejects the answer to its request: {given.message()} {short(body)}")
        return problems.row("")
    problems.must(repr(given.value) == repr(again.value) and not effects,  # nan equals nothing
                  "tickers.parse returns a different ticker the second time, or has side effects")
    compared = _compare(problems, given.value, simulated.history.ticker(number, time.time_ns()))
    require_rejections(problems, tickers.parse, body, instrument)
    return problems.row(f"{', '.join(compared)} of {instrument.symbol}; mutations are read or rejected")


def _compare(problems: Problems, found: Ticker, made: MadeTicker) -> list[str]:
    """Compare the figures with those of the dialect's trades; return the names of the figures that the venue gives."""
    scale, (numerator, denominator) = int(made.table.price_scale[made.symbol]), made.table.contract_size[made.symbol].tolist()
    volume = made.quantity / int(made.table.quantity_scale[made.symbol]) * numerator / denominator
    quote = made.quote * numerator / denominator
    wanted = {"price": made.last / scale, "open_24h": made.open / scale, "high": made.high / scale, "low": made.low / scale,
              "volume": volume, "quote_volume": quote, "bid": made.bid / scale, "ask": made.ask / scale}
    known = [name for name in wanted if not math.isnan(getattr(found, name))]
    for name in known:
        value, tolerance = getattr(found, name), PERCENT if name == "open_24h" else max(ROUNDING, 1e-6 * (name == "quote_volume"))
        problems.must(math.isclose(value, wanted[name], rel_tol=tolerance),
                      f"{name} is {value:.10g}, the dialect's trades give {wanted[name]:.10g}")
    if found.trades >= 0:
        known.append("trades")
        problems.must(found.trades == made.trades, f"{found.trades} trades, the dialect has {made.trades}")
    off_s = abs(time.time_ns() - found.at_ns) / 1e9 if found.at_ns else 0.0
    problems.must(off_s <= CLOCK_S or abs(found.at_ns - made.at_ns) < 10**9,
                  f"its time is {off_s:.0f} s away from now: is its unit wrong?")
    return known
