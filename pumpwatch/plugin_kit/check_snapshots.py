"""Check the parts that order books and tickers share: a request for each symbol, and rejected answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pumpwatch.model import Instrument
from pumpwatch.plugin_kit.check_facts import require_request
from pumpwatch.plugin_kit.mutations import mutated_bodies
from pumpwatch.plugin_kit.results import Check, Problems, short
from pumpwatch.plugin_kit.sandbox import attempt, watch_effects
from pumpwatch.venue import HttpRequest, Venue

ROUNDING = 1e-9  # relative tolerance for floats
CLOCK_S = 60.0  # from the dialect's answer to the check
ODD_SYMBOLS = ("BTC-USDT", "A/B", 'A"B', "币安人生USDT", "S" * 200, "1000000BABYDOGE-USDT")


def check_symbol_requests(venue: Venue, name: str, request: Callable[[str], HttpRequest]) -> Check:
    """Return the row for the requests of `name`, such as books: each is valid and depends only on the symbol."""
    problems = Problems(venue.name, f"{name}: requests")
    weight = 0.0
    for symbol in ODD_SYMBOLS:
        with watch_effects() as effects:
            made, again = attempt(request, symbol), attempt(request, symbol)
        if made.error is not None:
            problems.must(False, f"it raises {made.message()} for {short(symbol, 20)!r}")
            continue
        require_request(problems, f"{name}.request", made.value, venue)
        problems.must(made.value == again.value and not effects,
                      f"{name}.request returns a different request the second time, or has side effects")
        weight = getattr(made.value, "weight", 0.0)
    return problems.row(f"each has the weight {weight:g}, the limit is {venue.limits.requests_per_minute:g} a minute")


def require_rejections(problems: Problems, parse: Callable[[bytes, Instrument], Any], body: bytes,
                       instrument: Instrument) -> None:
    """Require that mutations of a body are read or rejected, and that half of it is rejected."""
    for mutant in mutated_bodies(body):
        other = attempt(parse, mutant, instrument)
        problems.must(not other.broke, f"it raises {other.message()} on {short(mutant)}")
    half = attempt(parse, body[: len(body) // 2], instrument)
    problems.must(half.error is not None, "half a body is accepted as a complete one")
