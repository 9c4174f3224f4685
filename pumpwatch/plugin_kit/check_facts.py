"""Check that the facts of a venue are complete, of the right types, and consistent."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from pumpwatch.feeds.placement import Placement
from pumpwatch.feeds.rate_limits import steady
from pumpwatch.model import FUTURES, SPOT, IdKind, Instrument, QuantityUnit
from pumpwatch.plugin_kit.results import Check, Problems, counted
from pumpwatch.plugin_kit.sandbox import attempt
from pumpwatch.venue import (
    AggregatedHistory,
    Candles,
    Heartbeat,
    HistoryDepth,
    HttpRequest,
    Limits,
    OrderBooks,
    Session,
    Tickers,
    Venue,
    Volumes,
)

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
UNITS_NS = (1, 1_000, 1_000_000, 1_000_000_000)
MAY_BE_0 = ("connection_bytes", "subscriptions_per_hour")  # 0 means that there is no such limit
FUNCTIONS = ("subscribe", "unsubscribe", "parse", "read_control", "parse_instruments", "history_request", "parse_history")
SUBSCRIBED_WITHIN_S = 60.0  # a connection with its usual number of symbols
ANY_TIME_NS = 1_700_000_000 * 10**9


def check_facts(venue: Venue) -> list[Check]:
    """Return a row for each group of facts."""
    return [_names(venue), _addresses(venue), _limits(venue), _heartbeat(venue), _rest(venue)]


def is_number(value: Any) -> bool:
    """Return whether the value is a number other than NaN; a bool is not a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _names(venue: Venue) -> Check:
    problems = Problems(venue.name, "facts: names and kinds")
    problems.must(isinstance(venue.exchange, str) and NAME.fullmatch(venue.exchange) is not None,
                  f"exchange {venue.exchange!r} is not a lower-case name")
    problems.must(venue.market_type in (SPOT, FUTURES), f"market_type {venue.market_type!r} is neither spot nor futures")
    problems.must(venue.variant == "" or NAME.fullmatch(venue.variant) is not None,
                  f"variant {venue.variant!r} is not a lower-case name")
    problems.must(isinstance(venue.id_kind, IdKind), f"id_kind {venue.id_kind!r} is not an IdKind")
    problems.must(isinstance(venue.quantity_unit, QuantityUnit), f"quantity_unit {venue.quantity_unit!r} is not a QuantityUnit")
    problems.must(venue.timestamp_unit_ns in UNITS_NS,
                  f"timestamp_unit_ns {venue.timestamp_unit_ns!r} is not one of {', '.join(map(str, UNITS_NS))}")
    for name in FUNCTIONS:
        problems.must(callable(getattr(venue, name)), f"{name} is not a function")
    if venue.unlisted is not None:
        for symbol in ("", "BTC", "币安人生USDT", "S" * 200):
            given = attempt(venue.unlisted, symbol)
            problems.must(not given.broke and isinstance(given.value, (Instrument, type(None))),
                          f"unlisted of {symbol[:20]!r} gives {given.value!r} {given.message()}")
    good = f"ids {venue.id_kind}, quantities in {venue.quantity_unit}, times in {venue.timestamp_unit_ns:,} ns"
    return problems.row(good)


def _addresses(venue: Venue) -> Check:
    problems = Problems(venue.name, "facts: addresses")
    addresses: tuple[tuple[str, Any, str], ...] = (("ws_url", venue.ws_url, "wss"), ("rest_url", venue.rest_url, "https"))
    for name, url, scheme in addresses:
        if not isinstance(url, str):
            problems.must(False, f"{name} {url!r} is not a string")
            continue
        parts = urlsplit(url)
        problems.must(parts.scheme == scheme, f"{name} is {url!r}, not {scheme}://")
        problems.must(bool(parts.hostname), f"{name} {url!r} has no host")
        problems.must(not re.search(r"\s", url), f"{name} {url!r} contains a space")
    problems.must(isinstance(venue.rest_url, str) and not venue.rest_url.endswith("/") and "?" not in venue.rest_url,
                  f"rest_url {venue.rest_url!r} must not end in / or have a query: paths are appended to it")
    headers = isinstance(venue.headers, Mapping) and all(
        isinstance(text, str) and text.isprintable() and text.isascii() for pair in venue.headers.items() for text in pair)
    problems.must(headers, "headers must be printable ASCII strings")
    return problems.row(f"{venue.ws_url} {venue.rest_url}")


def _limits(venue: Venue) -> Check:
    problems = Problems(venue.name, "facts: limits")
    limits: Any = venue.limits
    if not isinstance(limits, Limits):
        problems.must(False, "limits is not a Limits")
        return problems.row("")
    for field in dataclasses.fields(Limits):
        value = getattr(limits, field.name)
        if field.type == "bool":
            problems.must(isinstance(value, bool), f"{field.name} is {value!r}")
            continue
        whole = field.type != "int" or isinstance(value, int)
        problems.must(is_number(value) and whole and (value > 0 or (value == 0 and field.name in MAY_BE_0)),
                      f"{field.name} is {value!r}")
    stale = venue.stale_after_s
    problems.must(is_number(stale) and 0 < stale < math.inf, f"stale_after_s is {stale!r}")
    if problems.failures:
        return problems.row("")
    capacity = Placement(venue).capacity
    problems.must(limits.connection_age_s >= 60, f"connections live only {limits.connection_age_s} s")
    problems.must(venue.stale_after_s < limits.connection_age_s, "stale_after_s is longer than a connection lives")
    problems.must(not limits.connection_bytes or limits.connection_bytes >= limits.message_bytes,
                  "connection_bytes is less than message_bytes")
    problems.must(not limits.subscriptions_per_hour or limits.subscriptions_per_hour >= capacity,
                  f"{limits.subscriptions_per_hour} subscriptions an hour never fill a connection of {capacity} symbols")
    problems.must(not venue.replaces or limits.symbols_per_message >= limits.symbols_per_connection,
                  "with replaces, a request names every symbol of its connection, but a message cannot hold them all")
    problems.should(limits.symbols_per_message <= limits.symbols_per_connection, "a message holds more symbols than a connection")
    seconds = -(-capacity // limits.symbols_per_message) / steady(limits.messages_per_second)
    problems.should(seconds <= SUBSCRIBED_WITHIN_S, f"{capacity} symbols take {seconds:.0f} s to subscribe")
    return problems.row(f"{capacity} symbols a connection, subscribed in {seconds:.1f} s")


def _heartbeat(venue: Venue) -> Check:
    problems, heartbeat = Problems(venue.name, "facts: heartbeat"), venue.heartbeat
    if not isinstance(heartbeat, Heartbeat) or not is_number(heartbeat.interval_s) or heartbeat.interval_s < 0:
        problems.must(False, f"heartbeat is {heartbeat!r}")
        return problems.row("")
    if not heartbeat.interval_s:
        problems.should(heartbeat.text is None, "the heartbeat has a text, but interval_s is 0, so it is never sent")
        return problems.row(f"the venue expects no heartbeat; stale after {venue.stale_after_s} s")
    problems.must(venue.stale_after_s > heartbeat.interval_s,
                  f"stale after {venue.stale_after_s} s, with a heartbeat every {heartbeat.interval_s} s")
    shown = "protocol ping"
    if heartbeat.text is not None:
        given = attempt(heartbeat.text, ANY_TIME_NS)
        problems.must(given.error is None, f"the text raises {given.message()}")
        shown = _plain_or_json(problems, "the text", given.value) if given.error is None else ""
    return problems.row(f"{shown} every {heartbeat.interval_s} s, stale after {venue.stale_after_s} s")


def _plain_or_json(problems: Problems, what: str, text: Any) -> str:
    if not isinstance(text, str) or not text:
        problems.must(False, f"{what} is {text!r}")
        return ""
    if text[0] in "[{":
        problems.must(attempt(json.loads, text).error is None, f"{what} {text!r} begins like JSON but is not valid JSON")
    return text


def _rest(venue: Venue) -> Check:
    problems = Problems(venue.name, "facts: REST")
    problems.must(bool(venue.instruments_requests), "instruments_requests is empty: there is nothing to subscribe to")
    for request in venue.instruments_requests:
        require_request(problems, "instruments_requests", request, venue)
    depth, session = venue.history, venue.session
    _require_depth(problems, "history", depth)
    deeper = venue.aggregated_history
    if deeper is not None:
        problems.must(isinstance(deeper, AggregatedHistory) and callable(deeper.request) and callable(deeper.parse),
                      "aggregated_history is not an AggregatedHistory")
        _require_depth(problems, "aggregated_history.depth", getattr(deeper, "depth", None))
    kinds: tuple[tuple[str, Any, Any], ...] = (
        ("candles", venue.candles, Candles), ("books", venue.books, OrderBooks), ("tickers", venue.tickers, Tickers))
    for name, given, kind in kinds:
        problems.must(given is None or (isinstance(given, kind) and callable(given.request) and callable(given.parse)),
                      f"{name} is not an instance of {kind.__name__}")
    if session is not None:
        problems.must(isinstance(session, Session) and callable(session.url), "session is not a Session")
        if isinstance(session, Session) and session.request is not None:
            require_request(problems, "session.request", session.request, venue)
    pages: Callable[..., Any] | None = venue.next_instruments
    problems.must(pages is None or callable(pages), "next_instruments is not a function")
    if venue.volumes is not None:
        problems.must(isinstance(venue.volumes, Volumes) and callable(venue.volumes.parse), "volumes is not a Volumes")
        require_request(problems, "volumes.request", getattr(venue.volumes, "request", None), venue)
    if problems.failures:
        return problems.row("")
    requests = counted(len(venue.instruments_requests), "request")
    more = "; deeper with joined trades" * (deeper is not None) + "".join(f"; {name}" for name, given, _ in kinds if given)
    return problems.row(f"{requests} for instruments; history of {counted(depth.rows_per_request, 'row')} a request{more}")


def _require_depth(problems: Problems, what: str, depth: Any) -> None:
    if not isinstance(depth, HistoryDepth):
        problems.must(False, f"{what} is {depth!r}, not a HistoryDepth")
        return
    problems.must(isinstance(depth.rows_per_request, int) and depth.rows_per_request >= 0
                  and all(is_number(number) and number >= 0 for number in (depth.reach_s, depth.resolution_ns))
                  and is_number(depth.window_s) and depth.window_s > 0, f"{what} is {depth!r}")
    problems.must(depth.pages or not (depth.by_id or depth.oldest_first),
                  f"{what}: by_id and oldest_first need pages")
    problems.must(not depth.pages or depth.by_id or depth.by_time, f"{what}: pages needs by_id or by_time")


def require_request(problems: Problems, what: str, request: Any, venue: Venue) -> None:
    """Fail if the value is not a request that can be sent. what: its name in the message."""
    if not isinstance(request, HttpRequest):
        problems.must(False, f"{what} is {request!r}, not an HttpRequest")
        return
    problems.must(request.path.startswith("/"), f"{what}: the path {request.path!r} does not begin with /")
    problems.must(request.method in ("GET", "POST"), f"{what}: the method is {request.method!r}")
    problems.must(all(isinstance(key, str) and isinstance(value, (str, int)) for key, value in request.params.items()),
                  f"{what}: parameters must be strings or integers")
    problems.must(is_number(request.weight) and 0 < request.weight <= venue.limits.requests_per_minute,
                  f"{what}: the weight is {request.weight}, the limit is {venue.limits.requests_per_minute} a minute")
