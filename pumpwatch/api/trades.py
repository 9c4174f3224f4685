"""Route for the stored trades of a coin, streamed as they are read."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pumpwatch.api.encodings import FORMATS
from pumpwatch.api.reader_pool import Busy, Refused
from pumpwatch.api.recent_trades import Coin
from pumpwatch.api.route import Answer, ApiCall, Problem, Route
from pumpwatch.api.trade_reader import WantedTrades
from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.moments import parse_moment
from pumpwatch.printable import printable
from pumpwatch.store.query import QueryPart

LONGEST_DAYS = 31
_DAY = r"20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_HOUR = r"[T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])?"
_TIME = rf"^(now|-[0-9]{{1,4}}[smhd]|[1-9][0-9]{{8,18}}|{_DAY}({_HOUR})?)$"

Time = Annotated[str, Meta(max_length=40, pattern=_TIME, examples=["-1h"], description=(
    "a time in ISO 8601 such as 2026-11-21T10:00Z, an epoch in s, ms, us or ns, now, or an age such as -20m"))]


class TradesQuery(msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}):
    """from, to: ISO 8601 (UTC without a zone), an epoch in s, ms, us or ns, `now`, or `-20m`. exchange: empty for all."""

    coin: Coin
    from_: Time = "-20m"
    to: Time = "now"
    exchange: Annotated[str, Meta(max_length=40)] = ""
    market: Literal["spot", "futures", "any"] = "any"
    format: Literal["ndjson", "csv", "arrow", "parquet"] = "ndjson"


def asked_range(from_text: str, to_text: str, now_ns: int) -> tuple[int, int]:
    """Return from and to of a query in ns UTC. Raises Problem if one is not a time, or if from is after to."""
    try:
        start_ns, end_ns = parse_moment(from_text, now_ns), parse_moment(to_text, now_ns)
    except (ValueError, OverflowError) as error:
        raise Problem(400, "from or to is not a valid date: use a time such as 2026-11-21T10:00Z or -1h") from error
    if start_ns > end_ns:
        raise Problem(400, "from is after to: use the earlier time as from, for example from=-2h&to=-1h")
    return start_ns, end_ns


def trades(call: ApiCall) -> Answer:
    """Return a coin's trades."""
    query = call.query
    start_ns, end_ns = asked_range(query.from_, query.to, call.desk.clock.now_ns())
    if end_ns - start_ns > LONGEST_DAYS * 86_400 * NS_PER_S:
        raise Problem(400, f"request at most {LONGEST_DAYS} days at a time")
    _check_exchange(call, query.exchange)
    wanted = WantedTrades(query.coin, start_ns, end_ns, query.exchange or None, None if query.market == "any" else query.market,
                    query.format)
    began_s, problem = call.desk.clock.monotonic(), ""
    try:
        return Answer(call.desk.readers.read(wanted), FORMATS[query.format][0])
    except Refused as refused:
        problem = refused.message if refused.outcome.status >= 500 else ""
        raise Problem(refused.outcome.status, refused.outcome.detail) from refused
    except Busy as busy:
        problem = busy.message
        raise Problem(503, busy.message, {"Retry-After": "5"}) from busy
    except (ServiceUnavailable, OSError) as error:
        problem = str(error)
        raise Problem(503, f"stored trades cannot be read: {error}") from error
    finally:  # only until the first rows: the rest depends on the client
        ms = (call.desk.clock.monotonic() - began_s) * 1000
        part = QueryPart("reader", None, ms, problem, "to its first rows")
        call.desk.queries.record(query.coin, start_ns, end_ns, [part], None, ms)


def _check_exchange(call: ApiCall, exchange: str) -> None:
    """Raise Problem for an exchange that has neither a plugin nor stored trades."""
    known = {venue.exchange for venue in call.desk.plugins.venues}
    if exchange in ("", *known) or exchange in (known := known | {name for name, _ in call.desk.catalogue.venues}):
        return
    raise Problem(404, f"unknown exchange {printable(exchange)}: use one of {', '.join(sorted(known))}")


ROUTES = (Route("/api/trades", trades, f"A coin's stored trades by time, at most {LONGEST_DAYS} days at once", None, TradesQuery,
                media=tuple(kind for kind, _ in FORMATS.values()), errors=(404, 501, 503)),)
