"""Check the functions that read REST answers (instruments, history, sessions, volumes), also with answers of other kinds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pumpwatch.model import Columns, Instrument
from pumpwatch.plugin_kit.check_facts import is_number
from pumpwatch.plugin_kit.mutations import MUST_REFUSE, big_bodies, mutated_bodies
from pumpwatch.plugin_kit.results import Check, Problems, counted, short
from pumpwatch.plugin_kit.samples import Samples, SimulatedVenue
from pumpwatch.plugin_kit.sandbox import CallResult, attempt, watch_effects
from pumpwatch.venue import HistoryQuery, Venue

BIG_WITHIN_S = 5.0


def check_responses(venue: Venue, samples: Samples) -> list[Check]:
    """Return a row for each kind of body."""
    rows = [check_bad_bodies(venue, "instruments", lambda body: venue.parse_instruments([body] * len(venue.instruments_requests)),
                             big_bodies()),
            check_bad_bodies(venue, "history", lambda body: history_of(venue, body, "BTC-USDT"), big_bodies())]
    deeper, candles, books = venue.aggregated_history, venue.candles, venue.books
    bitcoin = Instrument(symbol="BTC-USDT", base="BTC", quote="USDT")
    if deeper is not None:
        rows.append(check_bad_bodies(venue, "aggregated", lambda body: deeper.parse(body, "BTC-USDT", Columns()),
                                     big_bodies()))
    if candles is not None:
        rows.append(check_bad_bodies(venue, "candles", lambda body: candles.parse(body, bitcoin), big_bodies()))
    if books is not None:
        rows.append(check_bad_bodies(venue, "books", lambda body: books.parse(body, bitcoin), big_bodies()))
    if venue.session is not None:
        rows.append(check_session(venue))
    if samples.simulated is not None:
        rows += [check_instruments(venue, samples.simulated), check_history(venue, samples.simulated)]
        if venue.volumes is not None:
            rows.append(check_volumes(venue, samples.simulated))
    return rows


def history_of(venue: Venue, body: bytes, symbol: str) -> Columns:
    """Return the columns that `parse_history` makes of a body. Raises whatever it raises."""
    columns = Columns()
    venue.parse_history(body, symbol, columns)
    return columns


def check_bad_bodies(venue: Venue, what: str, read: Callable[[bytes], Any],
                     large: Iterable[tuple[str, bytes]] = ()) -> Check:
    """Fail if an answer of another kind raises no error. large: further answers, whose reading time is checked too."""
    problems = Problems(venue.name, f"{what}: bad bodies are refused")
    for name, body in MUST_REFUSE.items():
        given = attempt(read, body)
        problems.must(not given.broke, f"{name} raises {given.message()}")
        problems.must(given.error is not None, f"{name} is accepted as a list")
    for name, body in large:
        began = time.perf_counter()
        given = attempt(read, body)
        problems.must(not given.broke, f"{name} raises {given.message()}")
        problems.must(given.error is not None, f"{name} is accepted as a list")
        problems.should(time.perf_counter() - began < BIG_WITHIN_S, f"{name} takes {time.perf_counter() - began:.1f} s")
    return problems.row(f"{len(MUST_REFUSE)} kinds of other answers, two of them with 40 MB")


def check_session(venue: Venue) -> Check:
    """Fail if a session's address is made from an answer of another kind."""
    problems = Problems(venue.name, "session: bad bodies are refused")
    assert venue.session is not None
    for name, body in MUST_REFUSE.items():
        given = attempt(venue.session.url, body, venue.ws_url, "1")
        problems.must(not given.broke, f"{name} raises {given.message()}")
        problems.must(given.error is not None or (venue.session.request is None and isinstance(given.value, str)),
                      f"{name} is accepted and gives the address {given.value!r}")
    return problems.row(f"{len(MUST_REFUSE)} kinds of other answers")


def check_instruments(venue: Venue, simulated: SimulatedVenue) -> Check:
    """Read the dialect's symbol list, complete and mutated."""
    problems = Problems(venue.name, "instruments")
    bodies = simulated.list_pages()
    problems.must(all(bodies), "the dialect rejects a request of the list")
    with watch_effects() as effects:
        listed, again = attempt(venue.parse_instruments, bodies), attempt(venue.parse_instruments, bodies)
    if listed.value is None:
        problems.must(False, f"it raises {listed.message()}")
        return problems.row("")
    problems.must(listed.value == again.value and not effects,
                  "parse_instruments returns different instruments the second time, or has side effects")
    require_plausible(problems, listed.value)
    found = {instrument.symbol for instrument in listed.value}
    missing = [symbol for symbol in simulated.table.symbols if symbol not in found]
    problems.must(not missing, f"{len(missing)} symbols that trade are left out: {missing[:3]}")
    for number, body in enumerate(bodies):
        for mutant in mutated_bodies(body):
            _must_not_break(problems, attempt(venue.parse_instruments, [*bodies[:number], mutant, *bodies[number + 1:]]), mutant)
            if venue.next_instruments:
                _must_not_break(problems, attempt(venue.next_instruments, mutant), mutant)
        half = attempt(venue.parse_instruments, [*bodies[:number], body[: len(body) // 2], *bodies[number + 1:]])
        problems.must(half.error is not None, "half a body is accepted as a complete one")
    instruments, answers = counted(len(listed.value), "instrument"), counted(len(bodies), "answer")
    return problems.row(f"{instruments} in {answers}; mutations are read or rejected")


def check_volumes(venue: Venue, simulated: SimulatedVenue) -> Check:
    """Read the dialect's volumes, complete and mutated, and answers of other kinds."""
    problems = Problems(venue.name, "volumes")
    assert venue.volumes is not None
    body = simulated.answer(venue.volumes.request)
    given = attempt(venue.volumes.parse, body)
    if given.value is None:
        problems.must(False, f"volumes.parse rejects the answer to its own request: {given.message()} {short(body)}")
        return problems.row("")
    volumes = given.value
    problems.must(all(is_number(volume) and 0 <= volume < math.inf for volume in volumes.values()),
                  "a volume is not a finite number of 0 or more")
    missing = [symbol for symbol in simulated.table.symbols if not volumes.get(symbol)]
    problems.must(not missing, f"{len(missing)} symbols that trade have no volume: {missing[:3]}")
    for other in (*mutated_bodies(body), *MUST_REFUSE.values()):
        _must_not_break(problems, attempt(venue.volumes.parse, other), other)
    return problems.row(f"{len(volumes)} symbols, and mutations of the answer")


def require_plausible(problems: Problems, instruments: Sequence[Instrument]) -> None:
    """Fail if a list has a symbol twice, or an instrument with impossible values."""
    symbols = [instrument.symbol for instrument in instruments]
    problems.must(len(set(symbols)) == len(symbols), "a symbol is listed twice")
    for instrument in instruments:
        name, multiplier, volume = instrument.symbol, instrument.multiplier, instrument.volume
        problems.must(all(isinstance(text, str) and text for text in (name, instrument.base, instrument.quote)),
                      f"{instrument!r} has no symbol, base or quote")
        problems.must(isinstance(multiplier, int) and multiplier >= 1, f"{name}: the multiplier is {multiplier}")
        for size_name in ("contract_size", "price_divisor"):
            size = getattr(instrument, size_name)
            problems.must(is_number(size) and 0 < size < math.inf, f"{name}: {size_name} is {size}")
        problems.must(is_number(volume) and 0 <= volume < math.inf, f"{name}: the volume is {volume}")


def _must_not_break(problems: Problems, given: CallResult[Any], body: bytes) -> None:
    problems.must(not given.broke, f"it raises {given.message()} on {short(body)}")


def check_history(venue: Venue, simulated: SimulatedVenue) -> Check:
    """Request one symbol's trades from the dialect, and read them, complete and mutated."""
    problems = Problems(venue.name, "history")
    if not venue.history.rows_per_request:
        return problems.row("the venue has no history")
    number = int(simulated.rows.symbol[-1])
    symbol, rows = simulated.table.symbols[number], simulated.rows.take(simulated.rows.symbol == number)
    query = HistoryQuery(symbol, int(rows.timestamp[0]), int(rows.timestamp[-1]) + 1)
    made = attempt(venue.history_request, query)
    body = simulated.answer(made.value) if made.value else b""
    given = attempt(history_of, venue, body, symbol)
    if given.value is None:
        errors = f"{made.message()} {given.message()}".strip()
        problems.must(False, f"parse_history rejects the answer to history_request: {errors} {short(body)}")
        return problems.row("")
    columns = given.value
    count = len(columns.symbol)
    problems.must(count > 0, "the dialect's answer has no trade")
    problems.must(set(columns.symbol) <= {symbol}, f"it reads rows of another symbol than {symbol}")
    for name in ("price", "quantity", "sell", "trade_id", "timestamp"):
        problems.must(len(getattr(columns, name)) == count, f"{name} has {len(getattr(columns, name))} rows, symbol {count}")
    step = max(venue.timestamp_unit_ns, venue.history.resolution_ns)
    known = set((rows.timestamp // step).tolist())
    problems.must({at * venue.timestamp_unit_ns // step for at in columns.timestamp} <= known,
                  "it reads times that no trade has: does their unit differ from the stream's? (if they are only coarser, set "
                  "HistoryDepth.resolution_ns)")
    problems.must(len(set(columns.symbol)) == 0 or count <= venue.history.rows_per_request,
                  f"the answer has {counted(count, 'row')}, but rows_per_request is {venue.history.rows_per_request}")
    for mutant in mutated_bodies(body):
        _must_not_break(problems, attempt(history_of, venue, mutant, symbol), mutant)
    return problems.row(f"{counted(count, 'row')} of {symbol}; mutations are read or rejected")
