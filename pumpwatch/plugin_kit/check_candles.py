"""Check a venue's candles: valid requests, minutes that add up to the dialect's trades, other answers rejected."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pumpwatch.model import Flag, Instrument
from pumpwatch.plugin_kit.check_facts import is_number, require_request
from pumpwatch.plugin_kit.check_snapshots import ODD_SYMBOLS, ROUNDING
from pumpwatch.plugin_kit.mutations import mutated_bodies
from pumpwatch.plugin_kit.results import Check, Problems, counted, short
from pumpwatch.plugin_kit.samples import Samples, SimulatedVenue
from pumpwatch.plugin_kit.sandbox import attempt, watch_effects
from pumpwatch.venue import MINUTE_NS, Candle, Candles, Venue

if TYPE_CHECKING:
    from pumpwatch.sim.rows import Rows

ANY_MINUTE_NS = 1_700_000_040 * 10**9


def check_candles(venue: Venue, samples: Samples) -> list[Check]:
    """Return one row for the facts and requests, and one for the dialect's minutes; an empty list without candles."""
    candles = venue.candles
    if candles is None:
        return []
    requests = _requests(venue, candles)
    if samples.simulated is None or requests.state == "fail":
        return [requests]
    return [requests, _minutes(venue, candles, samples.simulated.of_the_past())]


def _requests(venue: Venue, candles: Candles) -> Check:
    problems = Problems(venue.name, "candles: requests")
    most, tolerance = candles.rows_per_request, candles.tolerance
    problems.must(isinstance(most, int) and most > 0, f"rows_per_request is {most!r}")
    problems.must(is_number(candles.reach_s) and candles.reach_s > 0, f"reach_s is {candles.reach_s!r}")
    problems.must(is_number(tolerance) and 0 <= tolerance < 1, f"tolerance is {tolerance!r}")
    problems.must(isinstance(candles.why, str) and candles.why.isprintable() and bool(candles.why) == bool(tolerance),
                  f"a tolerance of {tolerance!r} has the reason {candles.why!r}")
    if problems.failures:
        return problems.row("")
    for symbol in ODD_SYMBOLS:
        for minutes in (1, most):
            wanted = (symbol, ANY_MINUTE_NS, ANY_MINUTE_NS + minutes * MINUTE_NS)
            with watch_effects() as effects:
                made, again = attempt(candles.request, *wanted), attempt(candles.request, *wanted)
            if made.error is not None:
                problems.must(False, f"it raises {made.message()} for {short(symbol, 20)!r}")
                continue
            require_request(problems, "candles.request", made.value, venue)
            problems.must(made.value == again.value and not effects,
                          "candles.request returns a different request the second time, or has side effects")
    spread = f"a volume may differ by {tolerance:.2%}: {candles.why}" if tolerance else "volumes must agree"
    return problems.row(f"{counted(most, 'minute')} a request; {spread}")


def _minutes(venue: Venue, candles: Candles, past: SimulatedVenue) -> Check:
    problems = Problems(venue.name, "candles: minutes")
    number = int(np.bincount(past.rows.symbol).argmax())
    instrument, rows = past.instrument(number), past.rows.take(past.rows.symbol == number)
    if instrument is None:
        problems.must(False, f"the symbol list does not contain {past.table.symbols[number]}")
        return problems.row("")
    start_ns = int(rows.timestamp[0]) // MINUTE_NS * MINUTE_NS
    end_ns = (int(rows.timestamp[-1]) // MINUTE_NS + 1) * MINUTE_NS
    end_ns = min(end_ns, start_ns + candles.rows_per_request * MINUTE_NS)
    spans = ((start_ns, end_ns), (start_ns + 2 * MINUTE_NS, start_ns + 3 * MINUTE_NS))
    found: list[Candle] = []
    for span in spans[::-1]:
        made = attempt(candles.request, instrument.symbol, *span)
        body = past.answer(made.value) if made.value else b""
        given = attempt(candles.parse, body, instrument)
        if given.value is None:
            problems.must(False, f"candles.parse rejects the answer to its request: {made.message()} {given.message()} "
                                 f"{short(body)}")
            return problems.row("")
        found = given.value
        _require_minutes(problems, found, *span)
    _compare(problems, candles, found, rows, (start_ns, end_ns))
    _mutations(problems, candles, body, instrument)
    return problems.row(f"{counted(len(found), 'minute')} of {instrument.symbol} add up to its trades; mutations are read or "
                        "rejected")


def _require_minutes(problems: Problems, found: list[Candle], start_ns: int, end_ns: int) -> None:
    starts = [candle.start_ns for candle in found]
    problems.must(starts == sorted(set(starts)), "the candles are not in ascending order, or a minute occurs twice")
    outside = [start for start in starts if not start_ns <= start < end_ns]
    problems.must(not outside, f"{counted(len(outside), 'candle')} outside the "
                               f"{counted((end_ns - start_ns) // MINUTE_NS, 'minute')} requested")


def _compare(problems: Problems, candles: Candles, found: list[Candle], rows: Rows, span: tuple[int, int]) -> None:
    """Compare each minute's volume and number of trades with the dialect's market trades."""
    from pumpwatch.sim.rows import VOID

    market = rows.take(((rows.flags & (VOID | int(Flag.outside_market()))) == 0) & (rows.timestamp < span[1]))
    minutes, place = np.unique(market.timestamp // MINUTE_NS, return_inverse=True)
    volumes, counts = np.bincount(place, market.base_quantities()).tolist(), np.bincount(place).tolist()
    known = {candle.start_ns: candle for candle in found}
    for minute, volume, count in zip((minutes * MINUTE_NS).tolist(), volumes, counts, strict=True):
        candle = known.pop(minute, None)
        if candle is None:
            problems.must(False, f"a minute with {counted(count, 'trade')} has no candle")
            continue
        allowed = max(candles.tolerance, ROUNDING)
        problems.must(math.isclose(candle.volume, volume, rel_tol=allowed),
                      f"a minute's volume is {candle.volume:.10g}, its trades have {volume:.10g} in base units")
        problems.must(candle.trades in (-1, count), f"a candle counts {counted(candle.trades, 'trade')}, the dialect {count}")
    problems.must(not any(candle.volume for candle in known.values()), "a minute without a trade has a volume")


def _mutations(problems: Problems, candles: Candles, body: bytes, instrument: Instrument) -> None:
    for mutant in mutated_bodies(body):
        given = attempt(candles.parse, mutant, instrument)
        problems.must(not given.broke, f"it raises {given.message()} on {short(mutant)}")
        starts = [candle.start_ns for candle in given.value or ()]
        problems.must(starts == sorted(set(starts)), f"minutes are not in order, or occur twice: {short(mutant)}")
    half = attempt(candles.parse, body[: len(body) // 2], instrument)
    problems.must(half.error is not None, "half a body is accepted as a complete one")
