"""What a venue's REST side answers: instruments, history, sessions; and what stands there instead of them on a bad day."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from pumpwatch.model import Columns, HistoryQuery, HttpRequest, Instrument, Venue
from pumpwatch.plugin_kit.check_facts import is_number
from pumpwatch.plugin_kit.mutations import MUST_REFUSE, big_bodies, mutated_bodies
from pumpwatch.plugin_kit.results import Check, Problems, many, short
from pumpwatch.plugin_kit.samples import Samples, Stage
from pumpwatch.plugin_kit.sandbox import CallResult, attempt, listening

BIG_WITHIN_S = 5.0
PAGES = 20


def check_bodies(venue: Venue, material: Samples) -> list[Check]:
    """Return a row for each kind of body."""
    rows = [_bad(venue, "instruments", lambda body: venue.parse_instruments([body] * len(venue.instruments_requests))),
            _bad(venue, "history", lambda body: history_of(venue, body, "BTC-USDT"))]
    if venue.session is not None:
        rows.append(_session(venue))
    if material.stage is not None:
        rows += [_instruments_of(venue, material.stage), _history_of(venue, material.stage)]
        if venue.volumes is not None:
            rows.append(_volumes_of(venue, material.stage))
    return rows


def history_of(venue: Venue, body: bytes, symbol: str) -> Columns:
    """Return what `parse_history` reads of a body. Raises what it raises."""
    columns = Columns()
    venue.parse_history(body, symbol, columns)
    return columns


def _bad(venue: Venue, what: str, read: Callable[[bytes], Any]) -> Check:
    problems = Problems(venue.name, f"{what}: bad bodies are refused")
    for name, body in MUST_REFUSE.items():
        given = attempt(read, body)
        problems.want(not given.broke, f"{name} raises {given.said()}")
        problems.want(given.error is not None, f"{name} is taken for a list")
    for name, body in big_bodies():
        began = time.perf_counter()
        given = attempt(read, body)
        problems.want(not given.broke, f"{name} raises {given.said()}")
        problems.want(given.error is not None, f"{name} is taken for a list")
        problems.wish(time.perf_counter() - began < BIG_WITHIN_S, f"{name} takes {time.perf_counter() - began:.1f} s")
    return problems.row(f"{len(MUST_REFUSE)} kinds of other answers, and 40 MB of two")


def _session(venue: Venue) -> Check:
    problems = Problems(venue.name, "session: bad bodies are refused")
    assert venue.session is not None
    for name, body in MUST_REFUSE.items():
        given = attempt(venue.session.url, body, venue.ws_url, "1")
        problems.want(not given.broke, f"{name} raises {given.said()}")
        problems.want(given.error is not None or (venue.session.request is None and isinstance(given.value, str)),
                      f"{name} gives the address {given.value!r}")
    return problems.row(f"{len(MUST_REFUSE)} kinds of other answers")


def _instruments_of(venue: Venue, stage: Stage) -> Check:
    """Read the dialect's symbol list: whole, and mutated."""
    problems = Problems(venue.name, "instruments")
    bodies: list[bytes] = []
    for request in venue.instruments_requests:
        page: HttpRequest | None = request
        while page is not None and len(bodies) < PAGES:
            bodies.append(stage.answer(page))
            problems.want(bool(bodies[-1]), f"its dialect refuses {page.path}")
            page = attempt(venue.next_instruments, bodies[-1]).value if venue.next_instruments else None
    with listening() as heard:
        listed, again = attempt(venue.parse_instruments, bodies), attempt(venue.parse_instruments, bodies)
    if listed.value is None:
        problems.want(False, f"it raises {listed.said()}")
        return problems.row("")
    problems.want(listed.value == again.value and not heard, "the same bodies give other instruments, or it reaches outside")
    want_plausible(problems, listed.value)
    found = {one.symbol for one in listed.value}
    missing = [symbol for symbol in stage.table.symbols if symbol not in found]
    problems.want(not missing, f"{len(missing)} symbols that trade are left out: {missing[:3]}")
    for number, body in enumerate(bodies):
        for mutant in mutated_bodies(body):
            _refuses(problems, attempt(venue.parse_instruments, [*bodies[:number], mutant, *bodies[number + 1:]]), mutant)
            if venue.next_instruments:
                _refuses(problems, attempt(venue.next_instruments, mutant), mutant)
        half = attempt(venue.parse_instruments, [*bodies[:number], body[: len(body) // 2], *bodies[number + 1:]])
        problems.want(half.error is not None, "half a body is taken for a whole one")
    good = f"{many(len(listed.value), 'instrument')} in {many(len(bodies), 'answer')}, and what mutations make of them"
    return problems.row(good)


def _volumes_of(venue: Venue, stage: Stage) -> Check:
    """Read what the dialect says was traded: whole, mutated, and what stands there on a bad day."""
    problems = Problems(venue.name, "volumes")
    assert venue.volumes is not None
    body = stage.answer(venue.volumes.request)
    given = attempt(venue.volumes.parse, body)
    if given.value is None:
        problems.want(False, f"the answer to its own request is not read: {given.said()} {short(body)}")
        return problems.row("")
    volumes = given.value
    problems.want(all(is_number(volume) and 0 <= volume < math.inf for volume in volumes.values()), "a volume that is none")
    missing = [symbol for symbol in stage.table.symbols if not volumes.get(symbol)]
    problems.want(not missing, f"{len(missing)} symbols that trade have none: {missing[:3]}")
    for other in (*mutated_bodies(body), *MUST_REFUSE.values()):
        _refuses(problems, attempt(venue.volumes.parse, other), other)
    return problems.row(f"{len(volumes)} symbols, and mutations of the answer")


def want_plausible(problems: Problems, instruments: Sequence[Instrument]) -> None:
    """Fail where a list has a symbol twice, or an instrument that cannot be one."""
    symbols = [one.symbol for one in instruments]
    problems.want(len(set(symbols)) == len(symbols), "a symbol is listed twice")
    for one in instruments:
        problems.want(all(isinstance(text, str) and text for text in (one.symbol, one.base, one.quote)), f"{one!r} lacks a name")
        problems.want(isinstance(one.multiplier, int) and one.multiplier >= 1, f"{one.symbol}: a multiplier of {one.multiplier}")
        for name in ("contract_size", "price_divisor"):
            size = getattr(one, name)
            problems.want(is_number(size) and 0 < size < math.inf, f"{one.symbol}: {name} is {size}")
        problems.want(is_number(one.volume) and 0 <= one.volume < math.inf, f"{one.symbol}: a volume of {one.volume}")


def _refuses(problems: Problems, given: CallResult[Any], body: bytes) -> None:
    problems.want(not given.broke, f"it raises {given.said()} on {short(body)}")


def _history_of(venue: Venue, stage: Stage) -> Check:
    """Ask for one symbol's trades, and read them: whole, and mutated."""
    problems = Problems(venue.name, "history")
    if not venue.history.rows_per_request:
        return problems.row("the venue has none")
    number = int(stage.rows.symbol[-1])
    symbol, rows = stage.table.symbols[number], stage.rows.take(stage.rows.symbol == number)
    query = HistoryQuery(symbol, int(rows.timestamp[0]), int(rows.timestamp[-1]) + 1)
    made = attempt(venue.history_request, query)
    body = stage.answer(made.value) if made.value else b""
    given = attempt(history_of, venue, body, symbol)
    if given.value is None:
        problems.want(False, f"the answer to its own request is not read: {made.said()} {given.said()} {short(body)}")
        return problems.row("")
    columns = given.value
    count = len(columns.symbol)
    problems.want(count > 0, "its dialect answers with no trade")
    problems.want(set(columns.symbol) <= {symbol}, f"rows of another symbol than {symbol}")
    for name in ("price", "quantity", "sell", "trade_id", "timestamp"):
        problems.want(len(getattr(columns, name)) == count, f"{name} has {len(getattr(columns, name))} rows, symbol {count}")
    step = max(venue.timestamp_unit_ns, venue.history.resolution_ns)
    known = set((rows.timestamp // step).tolist())
    problems.want({at * venue.timestamp_unit_ns // step for at in columns.timestamp} <= known,
                  "times that no trade had: another unit than the stream's? (coarser ones: HistoryDepth.resolution_ns)")
    problems.want(len(set(columns.symbol)) == 0 or count <= venue.history.rows_per_request,
                  f"an answer of {many(count, 'row')}, and rows_per_request is {venue.history.rows_per_request}")
    for mutant in mutated_bodies(body):
        _refuses(problems, attempt(history_of, venue, mutant, symbol), mutant)
    return problems.row(f"{many(count, 'row')} of {symbol}, and what mutations make of them")
