"""Check the functions that make requests: subscriptions within the venue's limits, answers that match them, history."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pumpwatch.errors import REFUSALS
from pumpwatch.feeds.placement import Placement
from pumpwatch.feeds.subscriptions import Subscriptions
from pumpwatch.model import Control, ControlKind, Instrument
from pumpwatch.plugin_kit.check_facts import ANY_TIME_NS, require_request
from pumpwatch.plugin_kit.results import Check, Problems, counted, short
from pumpwatch.plugin_kit.samples import Samples
from pumpwatch.plugin_kit.sandbox import attempt, watch_effects
from pumpwatch.venue import HistoryQuery, Venue

ODD_SYMBOLS = ("A/B", 'A"B', "A\\B", "A\nB", "A\x00B", "币安人生USDT", "É-USDT", "S" * 200, "A,B", "A B", "%s", "{0}", "]}",
               "0G", "1INCH-USDT", "1000000BABYDOGE-USDT")
LONG_NAME = "{:05}1000000BABYDOGE-USDT"  # 24 characters, more than real ones have
REQUEST_ID = 1_234_567
WANTED_IDS = ((-1, -1), (1000, 2000), (1000, 10**9), (1000, -1), (-1, 2000))  # first and last id of a query; -1: unknown


def check_requests(venue: Venue, samples: Samples) -> list[Check]:
    """Return a row for each kind of request."""
    rows = [_limits(venue, name, make) for name, make in _requests(venue)]
    rows += [_odd_symbols(venue), _history(venue)]
    if samples.simulated is not None:
        rows.append(_answers(venue, samples))
    return rows


def _requests(venue: Venue) -> list[tuple[str, Callable[[Sequence[str], int], str]]]:
    """Return the functions to check, without `unsubscribe` if `replaces` or `drops` make it useless."""
    requests = [("subscribe", venue.subscribe)]
    return requests if venue.replaces or not venue.drops else [*requests, ("unsubscribe", venue.unsubscribe)]


def _limits(venue: Venue, what: str, make: Callable[[Sequence[str], int], str]) -> Check:
    """Subscribe a full connection to symbols with long names, in messages as the feed makes them."""
    problems, limits = Problems(venue.name, f"{what} within its limits"), venue.limits
    placement = Placement(venue)
    long = [LONG_NAME.format(number) for number in range(placement.capacity)]
    placement.refresh([Instrument(symbol=name, base=name, quote="USDT") for name in long])
    names = sorted(placement.places[0].symbols)
    problems.should(len(placement.places) == 1, f"connection_bytes is too small for {len(long)} symbols of 24 characters")
    asked = Subscriptions(venue, lambda symbol, reason: None)
    queued = attempt(asked.want, names, what == "subscribe")
    if queued.error is not None:
        problems.must(False, f"it raises {queued.message()}")
        return problems.row("")
    texts: list[str] = []
    while asked.waiting:
        size = asked.next_size
        problems.must(size <= limits.symbols_per_message,
                      f"a message has {size} symbols, the limit is {limits.symbols_per_message}")
        made = attempt(asked.next_text, 0.0)
        if not isinstance(made.value, str):
            problems.must(False, f"{what} gives {made.value!r} {made.message()}")
            return problems.row("")
        texts.append(made.value)
    sizes = [len(text.encode()) for text in texts]
    longest = max(sizes, default=0)
    problems.must(longest <= limits.message_bytes, f"a message has {longest} bytes, the limit is {limits.message_bytes}")
    missing = [name for name in names if not any(name.casefold() in text.casefold() for text in texts)] if texts else []
    problems.must(not missing, f"{len(missing)} symbols are in no message, {missing[:1]}")
    whole = attempt(make, names[: limits.symbols_per_message], 1)
    problems.must(whole.error is None, f"it raises {whole.message()}")
    good = f"{counted(len(names), 'symbol')} of 24 characters in {counted(len(texts), 'message')}, {longest:,} bytes at most"
    return problems.row(good)


def _odd_symbols(venue: Venue) -> Check:
    problems = Problems(venue.name, "odd symbols and request ids")
    for what, make in _requests(venue):
        for symbol in ODD_SYMBOLS:
            with watch_effects() as effects:
                made, again = attempt(make, [symbol], REQUEST_ID), attempt(make, [symbol], REQUEST_ID)
            text = made.value
            if not isinstance(text, str):
                problems.must(False, f"{what} of {short(symbol, 20)!r} gives {text!r} {made.message()}")
                continue
            problems.must(text == again.value and not effects,
                          f"{what} returns a different text the second time, or has side effects")
            problems.must(len(text.encode(errors="replace")) <= venue.limits.message_bytes,
                          f"{what} of one symbol of {len(symbol)} characters is longer than message_bytes")
            problems.must(_holds(text, symbol), f"{what} of {short(symbol, 20)!r} does not contain the symbol: {short(text)}")
            if venue.acknowledges and not venue.answers_by_symbol:
                problems.must(str(REQUEST_ID) in text, f"{what} leaves out the request id, so its answer cannot be recognised "
                              "(if answers name their symbol instead, set answers_by_symbol)")
    return problems.row(f"{len(ODD_SYMBOLS)} odd symbols are sent unchanged; the request id is in the text")


def _holds(text: str, symbol: str) -> bool:
    """Return whether a message contains the whole symbol; in JSON, inside one of its texts."""
    if text[:1] not in ("{", "["):
        return symbol.casefold() in text.casefold()
    try:
        message = json.loads(text)
    except ValueError:
        return False
    return any(symbol.casefold() in inner.casefold() for inner in _texts(message))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _history(venue: Venue) -> Check:
    problems = Problems(venue.name, "history requests")
    asked = {"history_request": venue.history_request}
    if venue.aggregated_history is not None:
        asked["aggregated_history.request"] = venue.aggregated_history.request
    for (what, ask), symbol, ids in itertools.product(asked.items(), ("BTC-USDT", *ODD_SYMBOLS), WANTED_IDS):
        query = HistoryQuery(symbol, ANY_TIME_NS, ANY_TIME_NS + 60 * 10**9, *ids)
        with watch_effects() as effects:
            made, again = attempt(ask, query), attempt(ask, query)
        if made.error is not None:
            problems.must(False, f"it raises {made.message()} for {short(symbol, 20)!r}")
            continue
        require_request(problems, what, made.value, venue)
        problems.must(made.value == again.value and not effects,
                      f"{what} returns a different request the second time, or has side effects")
    return problems.row("by time and by id; the same each time")


def _answers(venue: Venue, samples: Samples) -> Check:
    """Send subscription requests to the dialect, and read its answers."""
    problems, simulated = Problems(venue.name, "answers are understood"), samples.simulated
    assert simulated is not None
    try:
        session, _ = simulated.connect()
    except REFUSALS as error:
        problems.must(False, f"session.url raises {type(error).__name__}: {error}")
        return problems.row("")
    symbols = simulated.table.symbols[: min(5, venue.limits.symbols_per_message)]
    kinds: list[str] = []
    asked = [venue.subscribe] if venue.replaces else [venue.subscribe, venue.unsubscribe]
    for number, make in enumerate(asked, REQUEST_ID):
        made = attempt(make, symbols, number)
        reply = simulated.dialect.receive(session, made.value or "", simulated.dialect.rules, simulated.history)
        problems.must(reply.close is None, f"the dialect closes the connection: {reply.close}")
        controls = [_control(venue, message) for message in reply.send if isinstance(message, (str, bytes))]
        kinds += [control.kind for control in controls if control]
        acknowledged = [control for control in controls if control and control.kind == ControlKind.ACK]
        if not venue.acknowledges:
            problems.must(not any(kind == ControlKind.REFUSAL for kind in kinds), "the dialect rejects the request")
            continue
        problems.must(bool(acknowledged), f"read_control does not read the answer as ACK: {short(repr(list(reply.send)))}")
        problems.must(all(_belongs(venue, control, number, symbols) for control in acknowledged),
                      "read_control finds neither the request id nor, with answers_by_symbol, the symbol in the answer")
        problems.must(venue.answers_by_symbol == (len(acknowledged) > 1) or len(symbols) == 1,
                      "answers_by_symbol does not match the answers")
    counts = ", ".join(f"{count} {kind}" for kind, count in Counter(map(str, kinds)).items())
    good = f"{counts}, with the request's id" if venue.acknowledges else "the venue sends no acknowledgement, as declared"
    return problems.row(good)


def _belongs(venue: Venue, answer: Control, number: int, symbols: Sequence[str]) -> bool:
    """Return whether the feed can tell which request an answer belongs to."""
    if answer.request_id is None and venue.answers_by_symbol:
        return bool(answer.symbols) and set(answer.symbols) <= set(symbols)
    return answer.request_id == number


def _control(venue: Venue, message: str | bytes) -> Control | None:
    return attempt(venue.read_control, message.encode() if isinstance(message, str) else message).value
